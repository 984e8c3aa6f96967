"""Graphs written by hand in OpenVINO's XML, honest and hostile ones."""

import pytest

from tests.support import openvino_graphs
from tfod_csf.files import openvino_operations
from tfod_csf.files.openvino_operations import OpenVINOModelError

LAYERS = [("Parameter", "opset1"), ("Convolution", "opset1"), ("NonMaxSuppression", "opset9"), ("Result", "opset1")]


def test_operations_of_detection_models(tmp_path):
    openvino_graphs.write(tmp_path, LAYERS)
    assert openvino_operations.unknown_operations(tmp_path) == []


@pytest.mark.parametrize(
    ("layer", "found"),
    [
        (("ReadValue", "opset6"), "opset6.ReadValue"),  # keeps something from one image to the next
        (("RandomUniform", "opset8"), "opset8.RandomUniform"),
        (("MyLayer", "extension"), "extension.MyLayer"),  # a library that another program has loaded
        (("Add", "gpu_opset"), "gpu_opset.Add"),
        (("Add", "opset1\n"), "'opset1\\n.Add'"),
        (("", ""), "."),
        (("A" * 1000, "opset1"), "opset1." + "A" * 73),
    ],
)
def test_other_operations_are_named_in_loops_too(tmp_path, layer, found):
    openvino_graphs.write(tmp_path, LAYERS, in_loop=[layer])
    assert openvino_operations.unknown_operations(tmp_path) == [found]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is damaged"),
        ("<net><layers>", "is damaged"),
        ("<html/>", "is not a graph of OpenVINO"),
        ('<!DOCTYPE net [<!ENTITY a SYSTEM "file:///etc/passwd">]><net>&a;</net>', "is not what OpenVINO writes"),
        ('<?xml version="1.0" encoding="UTF-7"?><net/>', "is not what OpenVINO writes"),
        ('<net><layers><layer><data offset="x" size="4"/></layer></layers></net>', "is damaged"),
    ],
)
def test_files_that_are_no_graph(tmp_path, text, message):
    (tmp_path / "model.xml").write_text(text)
    (tmp_path / "model.bin").write_bytes(b"")
    with pytest.raises(OpenVINOModelError, match=message):
        openvino_operations.unknown_operations(tmp_path)


def test_utf_16_is_refused_although_lxml_would_read_it(tmp_path):
    openvino_graphs.write(tmp_path, LAYERS)
    (tmp_path / "model.xml").write_text((tmp_path / "model.xml").read_text(), encoding="utf-16")
    with pytest.raises(OpenVINOModelError, match="is not what OpenVINO writes"):
        openvino_operations.unknown_operations(tmp_path)


def test_weights_that_are_missing_or_cut_short(tmp_path):
    openvino_graphs.write(tmp_path, LAYERS, num_weight_bytes=100)
    (tmp_path / "model.bin").write_bytes(b"\0" * 99)
    with pytest.raises(OpenVINOModelError, match="has 99 bytes, and the graph needs 100"):
        openvino_operations.unknown_operations(tmp_path)
    (tmp_path / "model.bin").unlink()
    with pytest.raises(OpenVINOModelError, match=r"model\.bin: is not there"):
        openvino_operations.unknown_operations(tmp_path)
    (tmp_path / "model.xml").unlink()
    with pytest.raises(OpenVINOModelError, match=r"model\.xml: is not there"):
        openvino_operations.unknown_operations(tmp_path)
