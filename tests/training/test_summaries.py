import numpy as np
import tensorflow as tf

from tests.support.tiny_training import read_tags, read_tensors
from tfod_csf.network_input import image_normalizer
from tfod_csf.training.summaries import Summaries, visible_images

NORMALIZER = image_normalizer.of_extractor("faster_rcnn_resnet50_keras")


def test_scalars_and_pictures_are_in_the_event_file(tmp_path):
    summaries = Summaries(tmp_path)
    summaries.scalars({"Loss/total_loss": 0.5, "learning_rate": 0.25}, step=7)
    summaries.scalars({"Loss/total_loss": 0.125}, step=9)
    pictures = [np.full([8, 16, 3], value, np.uint8) for value in (40, 200)]
    summaries.images("pictures", pictures, step=7)
    summaries.close()
    assert read_tags(tmp_path) == {
        "Loss/total_loss": ("scalars", [7, 9]),
        "learning_rate": ("scalars", [7]),
        "pictures": ("images", [7]),
    }
    assert [float(value) for value in read_tensors(tmp_path, "Loss/total_loss")] == [0.5, 0.125]
    (tensor,) = read_tensors(tmp_path, "pictures")
    assert tensor[:2].tolist() == [b"16", b"8"]  # width and height, then the pictures
    for encoded, value in zip(tensor[2:], (40, 200), strict=True):
        np.testing.assert_allclose(tf.io.decode_image(encoded), np.full([8, 16, 3], value), atol=2)


def test_no_pictures_and_no_folder_write_nothing(tmp_path):
    summaries = Summaries(tmp_path)
    summaries.images("pictures", [], step=7)
    summaries.close()
    assert read_tags(tmp_path) == {}
    nowhere = Summaries(None)
    nowhere.scalars({"Loss/total_loss": 0.5}, step=7)
    nowhere.close()


def test_visible_images_add_the_means_back():
    seen = np.array([[[[0.0, 0.0, 0.0], [200.0, -200.0, 0.061]]]], np.float32)
    (picture,) = visible_images(seen, NORMALIZER)
    assert picture.tolist() == [[[124, 117, 104], [255, 0, 104]]]  # 123.68, 116.779, 103.939; clipped to 0 and 255
    assert len(visible_images(np.zeros([5, 2, 2, 3]), NORMALIZER)) == 3
