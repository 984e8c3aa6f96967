"""The table of supported config fields: one row for every field that can be reached on the Faster R-CNN path.

Kinds of rows:
  honored       the field acts as in TFOD;
  same_numbers  every value gives the numbers TFOD gives with it, so there is nothing to act on;
  only          some values are honored, any other is refused;
  refused       setting it (to anything but its default) stops the run;
  no_effect     accepted because it changes nothing in TFOD on TensorFlow 2 either; the run prints a notice.
A field that is written with its default value is always accepted. `supported.py` checks a config against this table,
and docs/CONFIG.md is generated from it. Message types that are reachable only through refused fields are not listed.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tfod_csf.config import extractor_types


@dataclass(frozen=True)
class Rule:
    """What happens to a field that is set.

    Attributes:
      kind: "honored", "same_numbers", "only", "refused" or "no_effect".
      note: why it is refused or has no effect; for honored fields a remark for docs/CONFIG.md, or empty.
      values: of kind "only": the values that are honored, enum members by name.
      use: the nearest supported alternative, or a function from the refused value to that sentence.
    """

    kind: str
    note: str = ""
    values: tuple[Any, ...] = field(default=())
    use: str | Callable[[Any], str] = ""

    def alternative(self, value: Any) -> str:
        """What to use in place of the refused `value`; empty when there is nothing to advise."""
        return self.use(value) if callable(self.use) else self.use


def _honored(names: str, note: str = "") -> dict[str, Rule]:
    return {name: Rule("honored", note) for name in names.split()}


def _same(names: str, note: str) -> dict[str, Rule]:
    return {name: Rule("same_numbers", note) for name in names.split()}


def _refused(names: str, note: str, use: str = "leave it out") -> dict[str, Rule]:
    return {name: Rule("refused", note, use=use) for name in names.split()}


def _no_effect(names: str, note: str) -> dict[str, Rule]:
    return {name: Rule("no_effect", note) for name in names.split()}


_NO_MASKS = "this package has no mask or keypoint head"
_TF1_ONLY = "only TFOD's TensorFlow 1 programs read it"
_QUEUE = "belongs to TensorFlow 1's input queues"
_NO_CONTEXT = "context features (Context R-CNN) are not supported"

MODEL: dict[str, dict[str, Rule]] = {
    "TrainEvalPipelineConfig": {
        **_honored("model train_config train_input_reader eval_config eval_input_reader"),
        **_refused("graph_rewriter", "training for quantization is not supported"),
    },
    "DetectionModel": _honored("faster_rcnn"),
    "FasterRcnn": {
        **_honored(
            "num_classes image_resizer feature_extractor first_stage_anchor_generator first_stage_atrous_rate "
            "first_stage_box_predictor_conv_hyperparams first_stage_box_predictor_kernel_size "
            "first_stage_box_predictor_depth first_stage_minibatch_size first_stage_positive_balance_fraction "
            "first_stage_nms_score_threshold first_stage_nms_iou_threshold first_stage_max_proposals "
            "first_stage_localization_loss_weight first_stage_objectness_loss_weight initial_crop_size "
            "maxpool_kernel_size maxpool_stride second_stage_box_predictor second_stage_batch_size "
            "second_stage_balance_fraction second_stage_post_processing second_stage_localization_loss_weight "
            "second_stage_classification_loss_weight hard_example_miner second_stage_classification_loss "
            "use_matmul_crop_and_resize clip_anchors_to_image use_static_balanced_label_sampler"
        ),
        "number_of_stages": Rule("only", "a third stage predicts masks", (1, 2), "use 2"),
        **_same("use_matmul_gather_in_matcher", "another way to the same numbers, for TPUs"),
        **_same("use_partitioned_nms_in_first_stage", "another way to the same proposals, for TPUs"),
        **_honored(
            "use_static_shapes",
            "in training, where proposals are few, the second stage also learns from what pads them: repeats of the "
            "first proposal; with use_static_balanced_label_sampler, which acts only together with this field, clipped "
            "boxes without area too",
        ),
        **_honored(
            "use_static_shapes_for_eval",
            "with use_static_shapes, proposals are padded in the same way outside training; detections do not change, "
            "only the padding rows of raw_detection_boxes and raw_detection_scores",
        ),
        **_no_effect("second_stage_mask_prediction_loss_weight resize_masks", _NO_MASKS),
        **_refused("inplace_batchnorm_update", "TFOD on TensorFlow 2 refuses it as well"),
        **_refused("use_combined_nms_in_first_stage", "combined NMS gives other proposals"),
        **_refused(
            "return_raw_detections_during_predict output_final_box_features output_final_box_rpn_features",
            "these extra outputs are not supported",
        ),
        **_refused("context_config", _NO_CONTEXT),
    },
    "FasterRcnnFeatureExtractor": {
        "type": Rule("only", "", extractor_types.SUPPORTED, extractor_types.nearest),
        **_honored("first_stage_features_stride", extractor_types.strides_note()),
        **_honored("batch_norm_trainable"),
        **_honored(
            "conv_hyperparams override_base_feature_extractor_hyperparams pad_to_multiple fpn",
            "of feature pyramids (the types with fpn in their names), refused with other types",
        ),
    },
    "FeaturePyramidNetworks": _honored("min_level max_level additional_layer_depth"),
    "ImageResizer": {
        **_honored("keep_aspect_ratio_resizer fixed_shape_resizer identity_resizer"),
        **_refused(
            "conditional_shape_resizer pad_to_multiple_resizer",
            "this resizer is not supported",
            "use keep_aspect_ratio_resizer or fixed_shape_resizer",
        ),
    },
    "IdentityResizer": {},
    "KeepAspectRatioResizer": {
        **_honored("min_dimension max_dimension resize_method pad_to_max_dimension per_channel_pad_value"),
        **_refused("convert_to_grayscale", "the feature extractors take three channels"),
    },
    "FixedShapeResizer": {
        **_honored("height width resize_method"),
        **_refused("convert_to_grayscale", "the feature extractors take three channels"),
    },
    "AnchorGenerator": {
        **_honored("grid_anchor_generator"),
        **_honored("multiscale_anchor_generator", "of feature pyramids; its levels are those of feature_extractor.fpn"),
        **_refused(
            "ssd_anchor_generator flexible_grid_anchor_generator",
            "these anchors belong to SSD",
            "use grid_anchor_generator, or multiscale_anchor_generator with a feature pyramid",
        ),
    },
    "MultiscaleAnchorGenerator": {
        **_honored("min_level max_level anchor_scale aspect_ratios scales_per_octave"),
        "normalize_coordinates": Rule(
            "only", "anchors are in pixels; the default, true, is refused, as in TFOD", (False,), "use false"
        ),
    },
    "GridAnchorGenerator": _honored(
        "height width height_stride width_stride height_offset width_offset scales aspect_ratios"
    ),
    "Hyperparams": {
        **_honored("regularizer initializer batch_norm force_use_bias"),
        **_honored(
            "activation",
            "in feature_extractor.conv_hyperparams; in the heads TFOD uses relu6 after the RPN's convolution and "
            "nothing after the output layers",
        ),
        **_same(
            "op", "the kind of layer is fixed by the place; CONV at a dense layer or FC at a convolution is refused"
        ),
        **_no_effect("regularize_depthwise", "these layers are not depthwise"),
        **_refused("group_norm sync_batch_norm", "this normalization is not supported", "use batch_norm or none"),
    },
    "BatchNorm": {
        **_honored("decay center scale epsilon"),
        "train": Rule(
            "only", "whether batch norm learns is feature_extractor.batch_norm_trainable", (True,), "use true"
        ),
    },
    "Regularizer": _honored("l1_regularizer l2_regularizer"),
    "L1Regularizer": _honored("weight"),
    "L2Regularizer": _honored("weight"),
    "Initializer": {
        **_honored("truncated_normal_initializer variance_scaling_initializer random_normal_initializer"),
        **_refused(
            "keras_initializer_by_name",
            "initializers by Keras name are not supported",
            "use truncated_normal_initializer, variance_scaling_initializer or random_normal_initializer",
        ),
    },
    "TruncatedNormalInitializer": _honored("mean stddev"),
    "RandomNormalInitializer": _honored("mean stddev"),
    "VarianceScalingInitializer": _honored("factor uniform mode"),
    "BoxPredictor": {
        **_honored("mask_rcnn_box_predictor"),
        **_refused(
            "convolutional_box_predictor rfcn_box_predictor weight_shared_convolutional_box_predictor",
            "this box predictor belongs to SSD or R-FCN",
            "use mask_rcnn_box_predictor, which without masks is the Faster R-CNN head",
        ),
    },
    "MaskRCNNBoxPredictor": {
        **_honored("fc_hyperparams use_dropout dropout_keep_probability share_box_across_classes"),
        "box_code_size": Rule("only", "a box is coded by 4 numbers", (4,), "use 4"),
        **_refused("predict_instance_masks predict_keypoints", _NO_MASKS),
        **_no_effect(
            "conv_hyperparams mask_prediction_conv_depth mask_height mask_width mask_prediction_num_conv_layers "
            "masks_are_class_agnostic convolve_then_upsample_masks",
            "it shapes the mask head, which a model without predict_instance_masks does not have",
        ),
    },
    "PostProcessing": {
        **_honored("batch_non_max_suppression score_converter logit_scale"),
        **_refused("calibration_config", "calibrated scores inside the model are not supported"),
    },
    "BatchNonMaxSuppression": {
        **_honored("score_threshold iou_threshold max_detections_per_class max_total_detections"),
        **_honored("use_class_agnostic_nms soft_nms_sigma"),
        "max_classes_per_detection": Rule("only", "a detection has one class", (1,), "use 1"),
        **_same("use_static_shapes use_partitioned_nms", "another way to the same detections, for TPUs"),
        **_same("use_cpu_nms", "it says where to compute, not what"),
        **_refused("use_hard_nms", "whether suppression is soft follows from soft_nms_sigma"),
        **_refused("use_combined_nms", "combined NMS gives other detections"),
        "change_coordinate_frame": Rule("only", "detections are relative to the image", (True,), "use true"),
    },
    "HardExampleMiner": {
        **_honored("num_hard_examples iou_threshold loss_type"),
        **_no_effect(
            "max_negatives_per_positive min_negatives_per_image",
            "TFOD gives Faster R-CNN's miner no matches, without which it does not tell negatives from positives",
        ),
    },
    "ClassificationLoss": {
        **_honored("weighted_sigmoid weighted_softmax weighted_sigmoid_focal weighted_logits_softmax"),
        **_refused(
            "bootstrapped_sigmoid penalty_reduced_logistic_focal_loss weighted_dice_classification_loss",
            "TFOD's Faster R-CNN has no such loss and silently falls back to softmax",
            "use weighted_softmax, weighted_sigmoid or weighted_sigmoid_focal",
        ),
    },
    "WeightedSigmoidClassificationLoss": _no_effect("anchorwise_output", "Faster R-CNN's losses are always anchorwise"),
    "WeightedSoftmaxClassificationLoss": {
        **_honored("logit_scale"),
        **_no_effect("anchorwise_output", "Faster R-CNN's losses are always anchorwise"),
    },
    "WeightedSoftmaxClassificationAgainstLogitsLoss": {
        **_honored("logit_scale"),
        **_no_effect("anchorwise_output", "Faster R-CNN's losses are always anchorwise"),
    },
    "SigmoidFocalClassificationLoss": {
        **_honored("gamma alpha"),
        **_no_effect("anchorwise_output", "Faster R-CNN's losses are always anchorwise"),
    },
}

TRAINING: dict[str, dict[str, Rule]] = {
    "TrainConfig": {
        **_honored(
            "batch_size data_augmentation_options optimizer gradient_clipping_by_norm fine_tune_checkpoint "
            "from_detection_checkpoint num_steps add_regularization_loss max_number_of_boxes fine_tune_checkpoint_type "
            "fine_tune_checkpoint_version freeze_variables update_trainable_variables bias_grad_multiplier"
        ),
        **_same("unpad_groundtruth_tensors", "padding boxes have weight 0 and change nothing"),
        **_no_effect(
            "sync_replicas replicas_to_aggregate", "replicas are always synchronous; their number is the strategy's"
        ),
        **_no_effect("startup_delay_steps keep_checkpoint_every_n_hours summarize_gradients", _TF1_ONLY),
        **_no_effect("batch_queue_capacity num_batch_queue_threads prefetch_queue_capacity", _QUEUE),
        **_no_effect("retain_original_images", "nothing in training looks at the original images"),
        **_no_effect("use_bfloat16", "TFOD acts on it on TPUs only"),
        **_no_effect("run_fine_tune_checkpoint_dummy_computation", "the variables exist before the checkpoint is read"),
        **_refused("merge_multiple_label_boxes", "a box has one class here"),
        **_honored(
            "load_all_detection_checkpoint_vars", "with the TensorFlow 1 types; refused with others, as in TFOD"
        ),
        **_refused("use_multiclass_scores", "soft class targets are not supported"),
    },
    "Optimizer": _honored(
        "rms_prop_optimizer momentum_optimizer adam_optimizer use_moving_average moving_average_decay"
    ),
    "RMSPropOptimizer": _honored("learning_rate momentum_optimizer_value decay epsilon"),
    "MomentumOptimizer": _honored("learning_rate momentum_optimizer_value"),
    "AdamOptimizer": _honored("learning_rate epsilon"),
    "LearningRate": _honored(
        "constant_learning_rate exponential_decay_learning_rate manual_step_learning_rate cosine_decay_learning_rate"
    ),
    "ConstantLearningRate": _honored("learning_rate"),
    "ExponentialDecayLearningRate": _honored(
        "initial_learning_rate decay_steps decay_factor staircase burnin_learning_rate burnin_steps min_learning_rate"
    ),
    "ManualStepLearningRate": _honored("initial_learning_rate schedule warmup"),
    "ManualStepLearningRate.LearningRateSchedule": _honored("step learning_rate"),
    "CosineDecayLearningRate": _honored(
        "learning_rate_base total_steps warmup_learning_rate warmup_steps hold_base_rate_steps"
    ),
    "PreprocessingStep": {
        **_honored(
            "random_horizontal_flip random_vertical_flip random_rotation90 random_adjust_brightness "
            "random_adjust_contrast random_adjust_saturation random_adjust_hue random_distort_color random_crop_image "
            "random_pad_image random_image_scale random_rgb_to_gray random_pixel_value_scale random_jitter_boxes "
            "random_square_crop_by_scale random_crop_pad_image random_crop_to_aspect_ratio ssd_random_crop "
            "random_absolute_pad_image random_black_patches random_jpeg_quality adjust_gamma"
        ),
        **_refused(
            "normalize_image subtract_channel_mean resize_image scale_boxes_to_pixel_coordinates rgb_to_gray",
            "it would undo what model.faster_rcnn does with the image",
            "leave it out; the model resizes and subtracts the mean itself",
        ),
        **_refused(
            "ssd_random_crop_pad ssd_random_crop_fixed_aspect_ratio ssd_random_crop_pad_fixed_aspect_ratio "
            "random_scale_crop_and_pad_to_square random_downscale_to_target_pixels random_resize_method",
            "this augmentation is not supported",
            "use ssd_random_crop, random_crop_image, random_square_crop_by_scale or random_image_scale",
        ),
        **_refused("random_self_concat_image", "this augmentation is not supported", "use random_pad_image"),
        **_refused(
            "autoaugment_image random_patch_gaussian",
            "this augmentation is not supported",
            "use random_distort_color or the random_adjust_ steps",
        ),
        **_refused(
            "drop_label_probabilistically remap_labels",
            "labels are not changed while training",
            "use create_csf_tf_record --class_map",
        ),
        **_refused("convert_class_logits_to_softmax", "soft class targets are not supported"),
    },
    **{
        name: {
            **_honored("probability"),
            **_refused(keypoints, _NO_MASKS),
        }
        for name, keypoints in (
            ("RandomHorizontalFlip", "keypoint_flip_permutation"),
            ("RandomVerticalFlip", "keypoint_flip_permutation"),
            ("RandomRotation90", "keypoint_rot_permutation"),
        )
    },
    "RandomAdjustBrightness": _honored("max_delta"),
    "RandomAdjustContrast": _honored("min_delta max_delta"),
    "RandomAdjustSaturation": _honored("min_delta max_delta"),
    "RandomAdjustHue": _honored("max_delta"),
    "RandomDistortColor": _honored("color_ordering"),
    "RandomCropImage": _honored(
        "min_object_covered min_aspect_ratio max_aspect_ratio min_area max_area overlap_thresh random_coef clip_boxes"
    ),
    "RandomPadImage": _honored("min_image_height min_image_width max_image_height max_image_width pad_color"),
    "RandomImageScale": _honored("min_scale_ratio max_scale_ratio"),
    "RandomRGBtoGray": _honored("probability"),
    "RandomPixelValueScale": _honored("minval maxval"),
    "RandomJitterBoxes": _honored("ratio jitter_mode"),
    "RandomSquareCropByScale": _honored("max_border scale_min scale_max num_scales"),
    "RandomCropPadImage": _honored(
        "min_object_covered min_aspect_ratio max_aspect_ratio min_area max_area overlap_thresh random_coef clip_boxes "
        "min_padded_size_ratio max_padded_size_ratio pad_color"
    ),
    "RandomCropToAspectRatio": _honored("aspect_ratio overlap_thresh clip_boxes"),
    "SSDRandomCrop": _honored("operations"),
    "SSDRandomCropOperation": _honored(
        "min_object_covered min_aspect_ratio max_aspect_ratio min_area max_area overlap_thresh random_coef clip_boxes"
    ),
    "RandomAbsolutePadImage": _honored("max_height_padding max_width_padding pad_color"),
    "RandomBlackPatches": _honored("max_black_patches probability size_to_image_ratio"),
    "RandomJpegQuality": _honored("random_coef min_jpeg_quality max_jpeg_quality"),
    "AdjustGamma": _honored("gamma gain"),
}

INPUT_AND_EVALUATION: dict[str, dict[str, Rule]] = {
    "InputReader": {
        **_honored(
            "label_map_path shuffle num_epochs num_readers tf_record_input_reader shuffle_buffer_size "
            "filenames_shuffle_buffer_size read_block_length num_parallel_batches "
            "num_prefetch_batches max_number_of_boxes sample_1_of_n_examples name "
            "sample_from_datasets_weights drop_remainder"
        ),
        **_same("use_display_name", "a class text is looked up as name, then as display_name"),
        **_same("include_source_id", "the batch always holds it"),
        "input_type": Rule(
            "only", "records hold one tf.train.Example per image", ("TF_EXAMPLE", "INPUT_DEFAULT"), "use TF_EXAMPLE"
        ),
        **_refused("external_input_reader", "TFOD has no reader behind it", "use tf_record_input_reader"),
        **_no_effect("queue_capacity min_after_dequeue prefetch_size", _QUEUE),
        **_no_effect("num_parallel_map_calls", "num_parallel_batches decides"),
        **_refused("load_instance_masks num_keypoints load_dense_pose load_keypoint_depth_features", _NO_MASKS),
        **_refused("use_keypoint_label_map keypoint_type_weight", _NO_MASKS),
        **_no_effect("mask_type", _NO_MASKS),
        **_refused("num_additional_channels", "the feature extractors take three channels"),
        **_refused("load_multiclass_scores", "soft class targets are not supported"),
        **_refused("load_context_features load_context_image_ids", _NO_CONTEXT),
        **_refused("frame_index load_track_id", "sequences of frames are not supported"),
        **_refused("expand_labels_hierarchy", "hierarchies of classes are not supported"),
    },
    "TFRecordInputReader": _honored("input_path"),
    "EvalConfig": {
        **_honored(
            "num_visualizations use_moving_averages min_score_threshold max_num_boxes_to_visualize "
            "retain_original_images batch_size include_metrics_per_category"
        ),
        "metrics_set": Rule(
            "only",
            "",
            ("pascal_voc_detection_metrics", "weighted_pascal_voc_detection_metrics", "coco_detection_metrics"),
            "use pascal_voc_detection_metrics, weighted_pascal_voc_detection_metrics or coco_detection_metrics",
        ),
        **_no_effect(
            "num_examples eval_interval_secs max_evals save_graph visualization_export_dir eval_master export_path "
            "ignore_groundtruth skip_scores skip_labels visualize_groundtruth_boxes "
            "groundtruth_box_visualization_color keep_image_id_for_visualization_export",
            _TF1_ONLY,
        ),
        **_no_effect("recall_lower_bound recall_upper_bound", "no supported metric is limited to a range of recall"),
        **_no_effect("image_classes_field_map_empty_to_ones", "only Open Images metrics read image-level classes"),
        **_refused("eval_instance_masks parameterized_metric keypoint_edge", _NO_MASKS),
        **_refused(
            "all_metrics_per_category super_categories skip_predictions_for_unlabeled_class",
            "of COCO's metrics per category only mAP is computed",
            "use include_metrics_per_category",
        ),
        **_refused("retain_original_image_additional_channels", "images have three channels"),
        **_refused("force_no_resize", "images are resized as in training"),
        **_refused("use_dummy_loss_in_eval", "evaluation reports the real losses"),
    },
}

FIELDS: dict[str, dict[str, Rule]] = {**MODEL, **TRAINING, **INPUT_AND_EVALUATION}
