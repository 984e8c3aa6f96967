"""Makes the feature extractor of a type."""

from collections.abc import Callable

from tfod_csf.config import extractor_types
from tfod_csf.modeling.feature_extractors import (
    fpn_resnet_v1,
    inception_resnet_v2,
    resnet18,
    resnet_v1,
    slim_inception_resnet_v2,
    slim_inception_v2,
    slim_resnet_v1,
)
from tfod_csf.modeling.feature_extractors.feature_extractor import FeatureExtractor, FeatureExtractorError, Halves
from tfod_csf.network_input import image_normalizer

# By type: what makes the halves for a first_stage_features_stride.
_BUILDERS: dict[str, Callable[[int], Halves]] = {
    "faster_rcnn_resnet50_keras": lambda stride: resnet_v1.build(50),
    "faster_rcnn_resnet101_keras": lambda stride: resnet_v1.build(101),
    "faster_rcnn_resnet152_keras": lambda stride: resnet_v1.build(152),
    "faster_rcnn_inception_resnet_v2_keras": inception_resnet_v2.build,
    "faster_rcnn_resnet18_keras": resnet18.build,
    "faster_rcnn_resnet18_instance_norm_keras": resnet18.build_instance_norm,
    "faster_rcnn_inception_v2": lambda stride: slim_inception_v2.build(),
    "faster_rcnn_resnet50": lambda stride: slim_resnet_v1.build(50, stride),
    "faster_rcnn_resnet101": lambda stride: slim_resnet_v1.build(101, stride),
    "faster_rcnn_resnet152": lambda stride: slim_resnet_v1.build(152, stride),
    "faster_rcnn_inception_resnet_v2": slim_inception_resnet_v2.build,
}
# By type: depth of the ResNet that carries a feature pyramid.
_PYRAMID_DEPTHS = {
    "faster_rcnn_resnet50_fpn_keras": 50,
    "faster_rcnn_resnet101_fpn_keras": 101,
    "faster_rcnn_resnet152_fpn_keras": 152,
}


def build(
    type: str,  # the field's name
    first_stage_features_stride: int = 16,
    batch_norm_trainable: bool = False,
    pyramid_fields: fpn_resnet_v1.PyramidFields | None = None,
) -> FeatureExtractor:
    """The backbone of that `type`; arguments have the fields' names.

    Args:
      type: one of config.extractor_types.
      first_stage_features_stride, batch_norm_trainable: see FeatureExtractor.
      pyramid_fields: the fields that only feature pyramids have; they need them.

    Raises:
      FeatureExtractorError: the type is not known, or cannot have that stride.
    """
    if type not in extractor_types.TYPES:
        raise FeatureExtractorError(
            f"model.faster_rcnn.feature_extractor.type: {type} is not supported; use one of "
            f"{', '.join(extractor_types.SUPPORTED)}."
        )
    row = extractor_types.TYPES[type]
    complaint = extractor_types.stride_complaint(type, first_stage_features_stride)
    if complaint:
        raise FeatureExtractorError(f"{complaint}.")
    if type in _PYRAMID_DEPTHS:
        if pyramid_fields is None:
            raise FeatureExtractorError(f"model.faster_rcnn.feature_extractor: {type} needs conv_hyperparams.")
        halves = fpn_resnet_v1.build(_PYRAMID_DEPTHS[type], pyramid_fields)
    else:
        halves = _BUILDERS[type](first_stage_features_stride)
    proposal_features, box_classifier_features, crop_subsampling = halves
    return FeatureExtractor(
        proposal_features=proposal_features,
        box_classifier_features=box_classifier_features,
        first_stage_features_stride=first_stage_features_stride,
        crop_subsampling=crop_subsampling,
        image_normalizer=image_normalizer.of_extractor(type),
        batch_norm_trainable=batch_norm_trainable,
        slim_scope=row.slim_scope,
    )
