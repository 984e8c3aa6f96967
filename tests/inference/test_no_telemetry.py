"""OpenVINO and NNCF send nothing: neither when they are imported nor when they work."""

import subprocess
import sys

import pytest

pytest.importorskip("openvino")
pytest.importorskip("nncf")

# What is sent goes out in a forked process, hence a file that remembers who asked for an address.
CODE = """
import socket, sys
asked = open(sys.argv[1], "a")
def refuse(*address, **how):
    print(address, file=asked, flush=True)
    raise OSError("no network")
socket.getaddrinfo = socket.socket.connect = refuse
{first}
import numpy as np
import openvino
from openvino import opset13 as op
import nncf
image = op.parameter([1, 3, 8, 8], np.float32)
features = op.convolution(image, op.constant(np.ones([4, 3, 3, 3], np.float32)), [1, 1], [1, 1], [1, 1], [1, 1])
model = openvino.Model([features], [image], "model")
nncf.quantize(model, nncf.Dataset([np.ones([1, 3, 8, 8], np.float32)]), subset_size=1)
"""


@pytest.mark.parametrize(
    "module",
    ["tfod_csf.inference.openvino_network", "tfod_csf.export.openvino_export", "tfod_csf.inference.no_telemetry"],
)
def test_nobody_asks_for_an_address(module, tmp_path):
    code = CODE.format(first=f"import {module}")
    subprocess.run([sys.executable, "-c", code, tmp_path / "asked"], check=True, capture_output=True, text=True)
    assert (tmp_path / "asked").read_text() == ""


def test_the_conversions_own_process_loads_nothing_that_sends():
    code = "import sys; import tfod_csf.export.convert_saved_model; print(sys.modules['openvino_telemetry'])"
    run = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert run.stdout == "None\n"
