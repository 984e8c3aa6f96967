import dataclasses
import io
import os
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from tests.support import hand_made_model as by_hand
from tfod_csf.inference import detector
from tfod_csf.label_map import label_map_from_names
from tfod_csf.model_folder import ModelFolder
from tfod_csf.study import image_io

LABEL_MAP = label_map_from_names(by_hand.CLASSES)
BLACK = np.zeros([144, 192, 3], np.uint8)


def test_boxes_in_pixels_of_the_image(hand_made_model):
    found = detector.Detector(hand_made_model / "saved_model", LABEL_MAP).detect(BLACK, "a.png")
    assert (found.image, found.width, found.height, len(found)) == ("a.png", 192, 144, 5)
    # The image is twice 96 x 72.
    np.testing.assert_allclose(found.boxes[0], [20, 16, 72, 68], atol=1e-4)
    assert found.classes.tolist() == [1, 4, 3, 2, 3]
    np.testing.assert_allclose(found.scores, [0.95, 0.9, 0.75, 0.6, 0.05], atol=1e-6)
    np.testing.assert_allclose(found.multiclass_scores[0], [0.0125, 0.95, 0.0125, 0.0125, 0.0125], atol=1e-6)
    assert not found.num_at_limit


@pytest.mark.parametrize("input_type", ["float_image_tensor", "encoded_image_string_tensor", "tf_example"])
def test_every_input_type_gives_the_same(hand_made_model, tmp_path, input_type):
    folder = by_hand.save(tmp_path / "m", input_type=input_type)
    image = np.random.default_rng(0).integers(0, 256, [40, 60, 3]).astype(np.uint8)
    expected = detector.Detector(hand_made_model / "saved_model", LABEL_MAP).detect(image)
    found = detector.Detector(folder / "saved_model", LABEL_MAP, input_type=input_type).detect(image)
    np.testing.assert_allclose(found.scores, expected.scores, atol=1e-6)
    np.testing.assert_array_equal(found.boxes, expected.boxes)


@pytest.mark.parametrize("input_type", ["image_tensor", "encoded_image_string_tensor", "tf_example"])
def test_jpegs_are_decoded_as_in_training(tmp_path, input_type):
    noise = np.random.default_rng(0).integers(0, 256, [40, 60, 3]).astype(np.uint8)
    jpeg = image_io.encode_jpeg(noise)
    by_pillow = np.array(Image.open(io.BytesIO(jpeg)))
    by_tensorflow = tf.io.decode_jpeg(jpeg).numpy()
    assert (by_pillow != by_tensorflow).any()
    sensitive = [
        by_hand.Candidate((0.1 * i, 0.1 * i, 0.1 * i + 0.1, 0.1 * i + 0.1), 1, 1.0, fade=1.0) for i in range(8)
    ]
    folder = by_hand.save(tmp_path / "m", sensitive, input_type=input_type)
    model = detector.Detector(folder / "saved_model", LABEL_MAP, input_type=input_type)
    found = model.detect(by_pillow, jpeg=jpeg)
    np.testing.assert_array_equal(found.scores, model.detect(by_tensorflow).scores)
    assert (found.scores != model.detect(by_pillow).scores).any()
    # Bytes that TensorFlow cannot read do not lose the image.
    cut_off = model.detect(by_pillow, jpeg=jpeg[: len(jpeg) // 2])
    np.testing.assert_array_equal(cut_off.scores, model.detect(by_pillow).scores)


def test_full_list_is_flagged(tmp_path):
    folder = by_hand.save(tmp_path / "m", max_detections=3)
    assert detector.Detector(folder / "saved_model", LABEL_MAP).detect(BLACK).num_at_limit


def test_temperature(hand_made_model):
    info = {"calibration": {"temperature": 2.0}}
    folder = dataclasses.replace(ModelFolder.open(hand_made_model), info=info)
    found = detector.Detector.open(folder).detect(BLACK)
    # [0.0125 four times, 0.95] ** (1 / 2), made to add up to 1: sqrt(0.95) / (sqrt(0.95) + 4 sqrt(0.0125)) = 0.6855.
    np.testing.assert_allclose(found.scores[0], 0.6855, atol=1e-4)
    np.testing.assert_allclose(found.multiclass_scores.sum(axis=1), 1, atol=1e-6)
    assert found.classes.tolist() == [1, 4, 3, 2, 3]
    assert (np.diff(found.scores) <= 0).all()
    np.testing.assert_allclose(found.raw_scores[0], 0.95, atol=1e-6)
    plain = detector.Detector.open(ModelFolder.open(hand_made_model)).detect(BLACK)
    np.testing.assert_allclose(np.sort(found.raw_scores), np.sort(plain.scores), atol=1e-6)


def test_wrong_label_map_is_named(hand_made_model):
    two = label_map_from_names(["lymphocyte", "monocyte"])
    with pytest.raises(detector.DetectorError, match="class 3"):
        detector.Detector(hand_made_model / "saved_model", two).detect(BLACK)


def test_no_saved_model(tmp_path):
    with pytest.raises(detector.DetectorError, match="exporter_main_v2"):
        detector.Detector(tmp_path, LABEL_MAP)


def test_a_fresh_process_needs_tensorflow_only(hand_made_model):
    program = (
        "import sys, numpy as np\n"
        "from tfod_csf.inference import detector\n"
        "from tfod_csf.label_map import label_map_from_names\n"
        f"d = detector.Detector({str(hand_made_model / 'saved_model')!r}, label_map_from_names({by_hand.CLASSES!r}))\n"
        "assert len(d.detect(np.zeros([72, 96, 3], np.uint8))) == 5\n"
        "packages = {'training', 'modeling', 'data', 'export'}\n"
        "bad = [m for m in sys.modules if m.split('.')[0] in ('official', 'orbit', 'tf_keras')\n"
        "       or (m.startswith('tfod_csf.') and m.split('.')[1] in packages)]\n"
        "assert not bad, bad\n"
    )
    # Tests of the training packages choose legacy Keras for their process; a user's process does not.
    environment = {name: value for name, value in os.environ.items() if name != "TF_USE_LEGACY_KERAS"}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
