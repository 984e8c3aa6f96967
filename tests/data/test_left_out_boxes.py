import logging

import pytest
import tensorflow as tf

from tfod_csf.data import left_out_boxes
from tfod_csf.data.left_out_boxes import LeftOutBoxes


@pytest.fixture(autouse=True)
def _log(caplog):
    caplog.set_level(logging.WARNING, "tfod_csf")


def note_all(noted, lost, reason="too many"):
    """Notes {image: boxes it loses} from within a tf.data pipeline."""
    dataset = tf.data.Dataset.from_tensor_slices((list(lost), list(lost.values())))

    def step(image, number):
        noted.note(number, image, reason)
        return number

    list(dataset.map(step, num_parallel_calls=2, deterministic=True))


def test_losses_are_counted_by_reason_and_image(caplog):
    noted = LeftOutBoxes()
    note_all(noted, {"a.jpg": 2, "王.jpg": 1, "whole.jpg": 0})
    note_all(noted, {"a.jpg": 3}, "outside")
    assert noted.boxes == {"too many": {"a.jpg": 2, "王.jpg": 1}, "outside": {"a.jpg": 3}}
    assert len(caplog.messages) == 3
    assert any(message.startswith("王.jpg: 1 box is ") for message in caplog.messages)
    assert any(message.startswith("a.jpg: 2 boxes are ") for message in caplog.messages)


def test_an_image_read_again_is_not_counted_again(caplog):
    noted = LeftOutBoxes()
    for _ in range(3):
        note_all(noted, {"a.jpg": 2})
    assert noted.boxes == {"too many": {"a.jpg": 2}}
    assert len(caplog.messages) == 1


def test_only_the_first_images_are_named(caplog):
    noted = LeftOutBoxes()
    number = left_out_boxes.MAX_NAMED_IMAGES + 5
    note_all(noted, {f"{i}.jpg": 1 for i in range(number)})
    assert len(noted.boxes["too many"]) == number
    assert len(caplog.messages) == left_out_boxes.MAX_NAMED_IMAGES + 1
    assert caplog.messages[-1].startswith("Further images")


def test_nothing_lost_and_an_image_without_a_name(caplog):
    noted = LeftOutBoxes()
    note_all(noted, {"a.jpg": 0})
    assert (noted.boxes, caplog.messages) == ({}, [])
    note_all(noted, {"": 1})
    assert caplog.messages[0].startswith("image without a name: 1 box is")
