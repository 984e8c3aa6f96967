"""Makes the network a config describes. The only module of this package that reads protos."""

import dataclasses

import tf_keras

from tfod_csf.config import extractor_types
from tfod_csf.config.protos import faster_rcnn_pb2, hyperparams_pb2, model_pb2, post_processing_pb2
from tfod_csf.errors import UserError
from tfod_csf.modeling import losses
from tfod_csf.modeling.anchor_generator import GridAnchorGenerator, multiscale_anchor_generators
from tfod_csf.modeling.box_classifier import BoxClassifier
from tfod_csf.modeling.box_head import BoxHead
from tfod_csf.modeling.faster_rcnn import FasterRCNN
from tfod_csf.modeling.feature_extractors import extractor_builder, feature_extractor, fpn_resnet_v1
from tfod_csf.modeling.hard_example_miner import HardExampleMiner
from tfod_csf.modeling.layer_hyperparams import LayerHyperparams
from tfod_csf.modeling.post_processing import BatchNonMaxSuppression
from tfod_csf.modeling.proposal_sampler import ProposalSampler
from tfod_csf.modeling.rpn import RegionProposalHead, RegionProposalNetwork
from tfod_csf.network_input import image_resizer


class ModelBuilderError(UserError):
    """A config that no network can be made of."""


def build(
    model_config: model_pb2.DetectionModel,
    is_training: bool,
    compute_dtype: str = "float32",
    weights_dtype: str = "float32",
) -> FasterRCNN:
    """The network of `model`.

    Args:
      model_config: checked by config.supported.
      is_training: whether batch norm may learn; the training argument of predict decides at each call.
      compute_dtype: "bfloat16" computes backbone and heads in bfloat16, with float32 variables and float32 outputs.
      weights_dtype: "float16" keeps kernels and biases in float16, to be exported and not to be trained.

    Returns:
      FasterRCNN; its variables are made by the first predict, or by build_variables.
    """
    if model_config.WhichOneof("model") != "faster_rcnn":
        raise ModelBuilderError(
            f"model.{model_config.WhichOneof('model')} is not supported; this package builds model.faster_rcnn."
        )
    if compute_dtype not in ("float32", "bfloat16"):
        raise ModelBuilderError(f'compute_dtype: "{compute_dtype}" is not supported; use float32 or bfloat16.')
    if weights_dtype not in ("float32", "float16"):
        raise ModelBuilderError(f'weights_dtype: "{weights_dtype}" is not supported; use float32 or float16.')
    config = model_config.faster_rcnn
    if config.number_of_stages not in (1, 2):
        raise ModelBuilderError(
            f"model.faster_rcnn.number_of_stages: {config.number_of_stages} is not supported; use 1 or 2."
        )
    with feature_extractor.layers_computing_in(compute_dtype, weights_dtype):
        return _build_faster_rcnn(config, is_training)


def _build_faster_rcnn(config: faster_rcnn_pb2.FasterRcnn, is_training: bool) -> FasterRCNN:
    extractor = extractor_builder.build(
        type=config.feature_extractor.type,
        first_stage_features_stride=config.feature_extractor.first_stage_features_stride,
        batch_norm_trainable=config.feature_extractor.batch_norm_trainable and is_training,
        pyramid_fields=_build_pyramid_fields(config.feature_extractor),
    )
    return FasterRCNN(
        num_classes=config.num_classes,
        image_resizer=image_resizer.from_config(config.image_resizer),
        feature_extractor=extractor,
        rpn=build_region_proposal_network(config, is_training),
        box_classifier=build_box_classifier(config) if config.number_of_stages == 2 else None,
        initial_crop_size=config.initial_crop_size,
        maxpool_kernel_size=config.maxpool_kernel_size,
        maxpool_stride=config.maxpool_stride,
        use_matmul_crop_and_resize=config.use_matmul_crop_and_resize,
    )


def build_region_proposal_network(config: faster_rcnn_pb2.FasterRcnn, is_training: bool) -> RegionProposalNetwork:
    """The first stage of `model.faster_rcnn`; is_training as in `build`."""
    anchor_generators = _build_anchor_generators(config)
    return RegionProposalNetwork(
        head=RegionProposalHead(
            num_anchors_per_location=anchor_generators[0].num_anchors_per_location,
            hyperparams=build_hyperparams(config.first_stage_box_predictor_conv_hyperparams),
            first_stage_box_predictor_depth=config.first_stage_box_predictor_depth,
            first_stage_box_predictor_kernel_size=config.first_stage_box_predictor_kernel_size,
            first_stage_atrous_rate=config.first_stage_atrous_rate,
            num_levels=len(anchor_generators),
            max_anchors_with_loss=config.first_stage_minibatch_size if is_training else None,
        ),
        anchor_generators=anchor_generators,
        clip_anchors_to_image=config.clip_anchors_to_image,
        first_stage_nms_score_threshold=config.first_stage_nms_score_threshold,
        first_stage_nms_iou_threshold=config.first_stage_nms_iou_threshold,
        first_stage_max_proposals=config.first_stage_max_proposals,
        use_static_shapes=config.use_static_shapes and (is_training or config.use_static_shapes_for_eval),
        first_stage_minibatch_size=config.first_stage_minibatch_size,
        first_stage_positive_balance_fraction=config.first_stage_positive_balance_fraction,
        use_static_balanced_label_sampler=_uses_static_sampler(config),
        first_stage_localization_loss_weight=config.first_stage_localization_loss_weight,
        first_stage_objectness_loss_weight=config.first_stage_objectness_loss_weight,
    )


def build_box_classifier(config: faster_rcnn_pb2.FasterRcnn) -> BoxClassifier:
    """The second stage of `model.faster_rcnn`."""
    processing = config.second_stage_post_processing
    nms = processing.batch_non_max_suppression
    return BoxClassifier(
        head=_build_box_head(config),
        proposal_sampler=ProposalSampler(
            second_stage_batch_size=config.second_stage_batch_size,
            second_stage_balance_fraction=config.second_stage_balance_fraction,
            use_static_balanced_label_sampler=_uses_static_sampler(config),
            use_static_shapes=config.use_static_shapes,
        ),
        batch_non_max_suppression=BatchNonMaxSuppression(
            score_threshold=nms.score_threshold,
            iou_threshold=nms.iou_threshold,
            max_detections_per_class=nms.max_detections_per_class,
            max_total_detections=nms.max_total_detections,
            use_class_agnostic_nms=nms.use_class_agnostic_nms,
            soft_nms_sigma=nms.soft_nms_sigma,
        ),
        score_converter=post_processing_pb2.PostProcessing.ScoreConverter.Name(processing.score_converter),
        logit_scale=processing.logit_scale,
        second_stage_localization_loss_weight=config.second_stage_localization_loss_weight,
        second_stage_classification_loss_weight=config.second_stage_classification_loss_weight,
        second_stage_classification_loss=_build_classification_loss(config),
        hard_example_miner=_build_hard_example_miner(config),
    )


def _build_pyramid_fields(config: faster_rcnn_pb2.FasterRcnnFeatureExtractor) -> fpn_resnet_v1.PyramidFields | None:
    """None without conv_hyperparams, which pyramids need. A missing message `fpn` is not an empty one, as in TFOD."""
    if not config.HasField("conv_hyperparams"):
        return None
    levels = {}
    if config.HasField("fpn"):
        levels = {
            "min_level": config.fpn.min_level,
            "max_level": config.fpn.max_level,
            "additional_layer_depth": config.fpn.additional_layer_depth,
        }
    return fpn_resnet_v1.PyramidFields(
        conv_hyperparams=build_hyperparams(config.conv_hyperparams),
        override_base_feature_extractor_hyperparams=config.override_base_feature_extractor_hyperparams,
        pad_to_multiple=config.pad_to_multiple,
        **levels,
    )


def _build_anchor_generators(config: faster_rcnn_pb2.FasterRcnn) -> tuple[GridAnchorGenerator, ...]:
    """One for each feature map."""
    if config.first_stage_anchor_generator.HasField("multiscale_anchor_generator"):
        multiscale = config.first_stage_anchor_generator.multiscale_anchor_generator
        return multiscale_anchor_generators(
            min_level=multiscale.min_level,
            max_level=multiscale.max_level,
            anchor_scale=multiscale.anchor_scale,
            aspect_ratios=multiscale.aspect_ratios,
            scales_per_octave=multiscale.scales_per_octave,
        )
    anchors = config.first_stage_anchor_generator.grid_anchor_generator
    grid = GridAnchorGenerator(
        scales=anchors.scales,
        aspect_ratios=anchors.aspect_ratios,
        height=anchors.height,
        width=anchors.width,
        height_stride=anchors.height_stride,
        width_stride=anchors.width_stride,
        height_offset=anchors.height_offset,
        width_offset=anchors.width_offset,
    )
    return (grid,)


def _build_box_head(config: faster_rcnn_pb2.FasterRcnn) -> BoxHead:
    predictor = config.second_stage_box_predictor.mask_rcnn_box_predictor
    hyperparams = build_hyperparams(predictor.fc_hyperparams)
    if not extractor_types.is_slim(config.feature_extractor.type):
        # TFOD's Keras dense layers are not regularized: its recorded loss holds the first stage's kernels only.
        hyperparams = dataclasses.replace(hyperparams, kernel_regularizer=None)
    return BoxHead(
        num_classes=config.num_classes,
        hyperparams=hyperparams,
        share_box_across_classes=predictor.share_box_across_classes,
        use_dropout=predictor.use_dropout,
        dropout_keep_probability=predictor.dropout_keep_probability,
    )


def _uses_static_sampler(config: faster_rcnn_pb2.FasterRcnn) -> bool:
    """As in TFOD, use_static_balanced_label_sampler acts together with use_static_shapes only."""
    return config.use_static_balanced_label_sampler and config.use_static_shapes


def _build_hard_example_miner(config: faster_rcnn_pb2.FasterRcnn) -> HardExampleMiner | None:
    if not config.HasField("hard_example_miner"):
        return None
    miner = config.hard_example_miner
    return HardExampleMiner(
        num_hard_examples=miner.num_hard_examples,
        iou_threshold=miner.iou_threshold,
        loss_type=type(miner).LossType.Name(miner.loss_type),
    )


def _build_classification_loss(config: faster_rcnn_pb2.FasterRcnn) -> losses.ClassificationLoss:
    """Softmax unless the config names another loss; the fields of its message are the loss function's arguments."""
    name = config.second_stage_classification_loss.WhichOneof("classification_loss") or "weighted_softmax"
    message = getattr(config.second_stage_classification_loss, name)
    fields = {field.name: value for field, value in message.ListFields() if field.name != "anchorwise_output"}
    return losses.classification_loss(name, **fields)


def build_hyperparams(config: hyperparams_pb2.Hyperparams) -> LayerHyperparams:
    """The values of a `Hyperparams` message that act on layers."""
    batch_norm = None
    if config.HasField("batch_norm"):
        batch_norm = {
            "momentum": config.batch_norm.decay,
            "epsilon": config.batch_norm.epsilon,
            "center": config.batch_norm.center,
            "scale": config.batch_norm.scale,
        }
    return LayerHyperparams(
        kernel_initializer=_build_initializer(config.initializer),
        kernel_regularizer=_build_regularizer(config.regularizer),
        batch_norm=batch_norm,
        force_use_bias=config.force_use_bias,
        activation=hyperparams_pb2.Hyperparams.Activation.Name(config.activation),
    )


def _build_initializer(config: hyperparams_pb2.Initializer) -> tf_keras.initializers.Initializer | None:
    kind = config.WhichOneof("initializer_oneof")
    if kind == "truncated_normal_initializer":
        values = config.truncated_normal_initializer
        return tf_keras.initializers.TruncatedNormal(mean=values.mean, stddev=values.stddev)
    if kind == "random_normal_initializer":
        values = config.random_normal_initializer
        return tf_keras.initializers.RandomNormal(mean=values.mean, stddev=values.stddev)
    if kind == "variance_scaling_initializer":
        values = config.variance_scaling_initializer
        return tf_keras.initializers.VarianceScaling(
            scale=values.factor,
            mode=type(values).Mode.Name(values.mode).lower(),
            distribution="uniform" if values.uniform else "truncated_normal",
        )
    return None


def _build_regularizer(config: hyperparams_pb2.Regularizer) -> tf_keras.regularizers.Regularizer | None:
    """l2 weight w is 0.5 * w * sum(k^2), as in TFOD."""
    kind = config.WhichOneof("regularizer_oneof")
    if kind == "l1_regularizer":
        return tf_keras.regularizers.L1(config.l1_regularizer.weight)
    if kind == "l2_regularizer":
        return tf_keras.regularizers.L2(0.5 * config.l2_regularizer.weight)
    return None
