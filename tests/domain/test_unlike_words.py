"""Differences in words."""

import pytest

from tfod_csf.domain.picture_statistics import ASPECTS
from tfod_csf.domain.training_domain import Difference
from tfod_csf.domain.unlike_words import aspects_in, unlike_words


@pytest.mark.parametrize(
    ("aspect", "statistic", "points", "words"),
    [
        ("light", "background_yellow", -9.0, "light: background bluer than in the training images"),
        ("light", "background_lightness", 9.0, "light: background lighter than in the training images"),
        ("light", "clipped", 3.0, "light: more pixels without detail, white or black"),
        ("stain", "nucleus_red", 9.0, "stain: nuclei redder than in the training images"),
        (
            "stain",
            "pale_lightness",
            -9.0,
            "stain: erythrocytes and other pale parts darker than in the training images",
        ),
        ("size", "erythrocyte_size", -1.0, "size: erythrocytes 0.5 times as large"),
        ("focus", "edge_width", 1.0, "focus: edges of white cells 2.0 times as wide, less sharp"),
        ("focus", "edge_width", -1.0, "focus: edges of white cells 0.5 times as wide, more sharp"),
        ("structure", "contrast", -1.0, "structure: less contrast than in the training images"),
        (
            "structure",
            "octave_5_to_6",
            1.0,
            "structure: finer structure than in the training images, as of smaller cells",
        ),
        ("crowding", "stained_share", -2.0, "crowding: less of the image is stained than in the training images"),
    ],
)
def test_words(aspect, statistic, points, words):
    assert unlike_words([Difference(aspect, 2.0, statistic, points)]) == words


def test_detail_says_what_may_be_behind_it():
    more, less = (unlike_words([Difference("detail", 2.0, "octave_1_to_2", points)]) for points in (1.0, -1.0))
    assert more == "detail: more fine detail than in the training images, as of noise, sharpening or smaller cells"
    assert less == "detail: less fine detail than in the training images, as of blur or larger cells"


def test_each_statistic_has_words_and_each_aspect_is_a_part():
    every = [Difference(aspect, 2.0, name, 1.0) for aspect, names in ASPECTS.items() for name in names]
    parts = aspects_in(unlike_words(every))
    assert [part.partition(":")[0] for part in parts] == [one.aspect for one in every]
    assert aspects_in("") == []
