import re

import numpy as np
from lxml import etree

from tfod_csf.pages import curves
from tfod_csf.pages.curves import Axis, Line

X, Y = Axis("score", 0, 1, (0, 0.5, 1)), Axis("points", 0, 10, (0, 10))


def chart(lines, marks=()):
    text = curves.curves("c", "A title", "Some words.", lines, X, Y, marks)
    return etree.fromstring(f'<div xmlns="http://www.w3.org/1999/xhtml">{text}</div>'), text


def path_of(text, color):
    (path,) = re.findall(rf'<path d="M([^"]*)" fill="none" stroke="{color}" stroke-width="2"/>', text)
    return [tuple(map(float, point.split())) for point in path.split("L")]


def test_points_lie_where_their_numbers_are():
    """From 44 to 328 units is 0 to 1, from 220 up to 28 units is 0 to 10."""
    _, text = chart([Line("", np.array([0, 0.5, 1]), np.array([0.0, 5, 10]), "#123456")])
    assert path_of(text, "#123456") == [(44, 220), (186, 124), (328, 28)]


def test_numbers_that_are_none_leave_no_point_and_too_high_ones_stay_inside():
    _, text = chart([Line("", np.array([0, 0.5, 1]), np.array([np.nan, 5, 99]), "#123456")])
    assert path_of(text, "#123456") == [(186, 124), (328, 28)]
    _, text = chart([Line("none", np.array([0.0]), np.array([np.nan]), "#123456")])
    assert "#123456" not in text


def test_a_line_at_the_top_runs_through_no_mark():
    line = Line("", np.array([0, 1]), np.array([10.0, 10]), "#123456")
    for marks in ([(0.5, "in use")], [(0.5, "in use"), (0.52, "F1")]):
        _, text = chart([line], marks)
        (_, highest), _ = path_of(text, "#123456")
        base_lines = [float(y) for y in re.findall(r'y="([0-9.]+)" font-size="12" stroke="#fff"', text)]
        assert len(base_lines) == len(marks)
        assert min(base_lines) > 9  # letters of 12 px stay in the picture
        assert max(base_lines) <= highest - 4


def test_names_and_marks_are_said_and_do_not_cover_each_other():
    lines = [Line(name, np.array([0, 1]), np.array([0, 5]), "#123456") for name in ("<a>", "b", "c")]
    tree, text = chart(lines, [(0.5, "in use"), (0.52, "F1")])
    names = {"svg": "http://www.w3.org/1999/xhtml"}
    texts = [(node.text, float(node.get("y"))) for node in tree.iterfind(".//svg:text", names)]
    heights = [y for name, y in texts if name in ("<a>", "b", "c")]
    assert np.diff(heights).tolist() == [16, 16]
    assert {"in use", "F1", "score", "points"} <= {name for name, _ in texts}
    marks = [y for name, y in texts if name in ("in use", "F1")]
    assert marks[1] - marks[0] == 13
    assert "Some words." in text
