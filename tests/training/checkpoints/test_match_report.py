"""The report's table: parts of the model in words."""

from tfod_csf.training.checkpoints import match_report


def test_parts_of_both_kinds_of_checkpoints_in_words():
    keys = [
        "model/_first_stage_box_predictor/x/.ATTRIBUTES/VARIABLE_VALUE",
        "Conv/weights",
        "Conv/weights/Momentum",
        "optimizer/decay/.ATTRIBUTES/VARIABLE_VALUE",
        "Conv/weights/ExponentialMovingAverage",
        "FirstStageFeatureExtractor/resnet_v1_50/block4/unit_1/bottleneck_v1/conv1/weights",
        "FirstStageFeatureExtractor/resnet_v1_50/block3/unit_1/bottleneck_v1/conv1/weights",
        "InceptionV2/Logits/biases",
    ]
    assert match_report.count_parts(keys) == {
        "RPN predictors (_first_stage_box_predictor)": 1,
        "RPN convolution (Conv)": 1,
        "optimizer state": 2,
        "moving averages": 1,
        "block4 of the first half, on which nothing depends": 1,
        "backbone, first half (FirstStageFeatureExtractor)": 1,
        "InceptionV2": 1,
    }
