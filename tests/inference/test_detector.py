import dataclasses
import io
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from tests.support import hand_made_model as by_hand
from tfod_csf.errors import UserError
from tfod_csf.inference import detector, jpeg_decoding
from tfod_csf.label_map import label_map_from_names
from tfod_csf.model_folder import ModelFolder
from tfod_csf.problems import ProblemLog
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
    path = tmp_path / "a.jpg"
    path.write_bytes(jpeg)
    loaded, _ = image_io.read_image(path, ProblemLog(), decode_jpeg=model.decode_jpeg)
    np.testing.assert_array_equal(loaded.pixels, by_tensorflow)
    found = model.detect(loaded.pixels, jpeg=loaded.jpeg)
    np.testing.assert_array_equal(found.scores, model.detect(by_tensorflow).scores)
    assert (found.scores != model.detect(by_pillow).scores).any()


def test_bytes_that_tensorflow_cannot_read_are_for_pillow():
    jpeg = image_io.encode_jpeg(BLACK)
    assert jpeg_decoding.decode(jpeg).shape == BLACK.shape
    assert jpeg_decoding.decode(jpeg[: len(jpeg) // 2]) is None


def test_tensorflow_reads_no_jpeg_that_pillow_cannot():
    """So that one decode decides as both did: an image that Pillow calls damaged is not used."""
    random = np.random.default_rng(0)
    jpeg = image_io.encode_jpeg(random.integers(0, 256, [40, 60, 3]).astype(np.uint8))
    damaged = [jpeg[:length] for length in range(0, len(jpeg), 20)]
    for _ in range(300):
        changed = bytearray(jpeg)
        for place in random.integers(0, len(jpeg) // 2, 3):
            changed[place] = random.integers(0, 256)
        damaged.append(bytes(changed))
    unusable = 0
    for data in damaged:
        try:
            with Image.open(io.BytesIO(data), formats=["JPEG"]) as image:
                image.load()
        except (OSError, SyntaxError, ValueError):
            unusable += 1
            assert jpeg_decoding.decode(data) is None
    assert 200 < unusable < len(damaged)


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


def test_a_temperature_of_scores_that_do_not_add_up_to_1_is_refused(hand_made_model, monkeypatch):
    """Sigmoids: normalized, a lymphocyte's 0.9 of the row .05 .9 .4 .3 .1 would be 0.463 at 1.2."""
    info = {"calibration": {"temperature": 1.2}}
    model = detector.Detector.open(dataclasses.replace(ModelFolder.open(hand_made_model), info=info))
    outputs = {
        "detection_boxes": np.array([[[0.1, 0.1, 0.3, 0.3]]]),
        "detection_scores": np.array([[0.9]]),
        "detection_classes": np.array([[1.0]]),
        "num_detections": np.array([1.0]),
        "detection_multiclass_scores": np.array([[[0.05, 0.9, 0.4, 0.3, 0.1]]]),
    }
    monkeypatch.setattr(model._network, "run", lambda pixels, jpeg=None: outputs)
    with pytest.raises(detector.DetectorError, match=r"those of a cell add up to 1\.75"):
        model.detect(BLACK)
    model.temperature = 1.0
    np.testing.assert_allclose(model.detect(BLACK).scores, [0.9])


def test_wrong_label_map_is_named(hand_made_model):
    two = label_map_from_names(["lymphocyte", "monocyte"])
    message = (
        r"the model gives scores of 4 classes, but the label map has the ids 1, 2; put the label map of its training"
    )
    with pytest.raises(detector.DetectorError, match=message):
        detector.Detector(hand_made_model / "saved_model", two).detect(BLACK)


def test_a_damaged_graph_is_one_sentence(hand_made_model, tmp_path):
    """A flipped bit in a name, of which TensorFlow makes a KeyError."""
    shutil.copytree(hand_made_model, tmp_path / "m")
    path = tmp_path / "m" / "saved_model" / "saved_model.pb"
    path.write_bytes(path.read_bytes().replace(b"Pad_1", b"Qad_1", 1))
    with pytest.raises(detector.DetectorError, match="the SavedModel cannot be loaded"):
        detector.Detector.open(ModelFolder.open(tmp_path / "m"))


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


def save_constant(folder, **changes):
    """A SavedModel that returns the same two detections for every image, apart from what is changed."""
    outputs = {
        "detection_boxes": [[[0.1, 0.1, 0.4, 0.4], [0.5, 0.5, 0.9, 0.9], [0.0, 0.0, 0.0, 0.0]]],
        "detection_scores": [[0.9, 0.8, 0.0]],
        "detection_classes": [[1.0, 4.0, 1.0]],
        "num_detections": [2.0],
        **changes,
    }
    outputs = {name: tf.constant(value) for name, value in outputs.items() if value is not None}
    module = tf.Module()

    @tf.function(input_signature=[tf.TensorSpec([1, None, None, 3], tf.uint8, name="input_tensor")])
    def serve(input_tensor):
        return {name: tf.identity(value) for name, value in outputs.items()}

    tf.saved_model.save(module, str(folder / "saved_model"), signatures={"serving_default": serve})
    return detector.Detector(folder / "saved_model", LABEL_MAP)


BOX = [0.1, 0.1, 0.4, 0.4]
NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"detection_boxes": [[[0.1, 0.1, NAN, 0.4], BOX, BOX]]},
            "a box far outside of the image, or with a",
        ),
        ({"detection_boxes": [[[0.1, 0.1, -INF, 0.4], BOX, BOX]]}, "a box far outside of the image"),
        ({"detection_boxes": [[[10.0, 8.0, 36.0, 34.0], BOX, BOX]]}, "a box far outside of the image"),
        ({"detection_boxes": [[[0.4, 0.1, 0.1, 0.4], BOX, BOX]]}, "a box whose lower end is above its upper end"),
        ({"detection_scores": [[NAN, 0.8, 0.0]]}, "the score nan"),
        ({"detection_scores": [[12.5, 0.8, 0.0]]}, "the score 12.5"),
        ({"detection_classes": [[1.5, 4.0, 1.0]]}, "a class that is not a whole number"),
        ({"detection_classes": [[NAN, 4.0, 1.0]]}, "a class that is not a whole number"),
        ({"detection_classes": [[0.0, 4.0, 1.0]]}, "gives class 0, but the label map has the ids 1, 2, 3, 4"),
        ({"detection_classes": [[9.0, 4.0, 1.0]]}, "gives class 9, but"),
        ({"num_detections": [4.0]}, r"num_detections is \[4\.0\] of 3 rows"),
        ({"num_detections": [-1.0]}, "num_detections is"),
        ({"num_detections": [NAN]}, "num_detections is"),
        ({"num_detections": [1.5]}, "num_detections is"),
        ({"detection_scores": [[0.9, 0.8]]}, r"detection_scores is \[1, 2\] for one image; expected \[1, 3\]"),
        ({"detection_boxes": [[[0.1, 0.1, 0.4]] * 3]}, r"detection_boxes is \[1, 3, 3\] for one image"),
        ({"detection_boxes": [0.1, 0.2]}, r"the output detection_boxes is float32 \(2,\)"),
        ({"detection_classes": [["a", "b", "c"]]}, "the output detection_classes is string"),
        ({"detection_scores": None}, "the signature has no output detection_scores"),
        ({"detection_multiclass_scores": [[[0.1, 0.9]] * 3]}, "the model gives scores of 1 classes, but the label"),
    ],
)
def test_models_that_are_no_detectors_or_return_nonsense(tmp_path, changes, message):
    with pytest.raises(UserError, match=message):
        save_constant(tmp_path, **changes).detect(BLACK)


def test_padding_behind_the_detections_is_not_looked_at(tmp_path):
    found = save_constant(
        tmp_path,
        detection_boxes=[[BOX, [-0.2, 0.5, 1.3, 0.9], [NAN, INF, 9e9, 0.0]]],
        detection_scores=[[0.9, 0.8, -INF]],
        detection_classes=[[1.0, 4.0, -5.0]],
    ).detect(BLACK)
    assert (len(found), found.classes.tolist()) == (2, [1, 4])
    # A box that reaches a little out of the image ends at its edge.
    np.testing.assert_allclose(found.boxes[1], [0, 96, 144, 172.8], rtol=1e-6)


def test_a_batch_gives_what_each_image_gives_alone(tiny_exported_model):
    model = detector.Detector.open(ModelFolder.open(tiny_exported_model))
    assert model.max_batch == 2
    random = np.random.default_rng(0)
    images = [random.integers(0, 256, [50, 70, 3]).astype(np.uint8) for _ in range(2)]
    together = model.detect_batch(images, ["a.png", "b.png"])
    for name, pixels, found in zip(["a.png", "b.png"], images, together, strict=True):
        alone = model.detect(pixels, name)
        assert (found.image, found.width, found.height) == (name, 70, 50)
        assert len(found) == len(alone) > 0
        assert found.classes.tolist() == alone.classes.tolist()
        np.testing.assert_allclose(found.boxes, alone.boxes, atol=1e-3)
        np.testing.assert_allclose(found.multiclass_scores, alone.multiclass_scores, atol=1e-5)


def test_a_model_without_the_batch_signature_takes_one_image_at_a_time(hand_made_model):
    model = detector.Detector(hand_made_model / "saved_model", LABEL_MAP, max_batch=8)
    assert model.max_batch == 1
