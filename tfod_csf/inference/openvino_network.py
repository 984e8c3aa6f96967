"""An OpenVINO IR that export_openvino wrote, run on the CPU.

Its input takes pixels of any size, as the SavedModel's did. The kind of numbers that its convolutions compute with is
in the IR itself, so that it is part of the model's fingerprint.
"""

import logging
import pathlib
import threading
from collections.abc import Mapping
from typing import Any

import numpy as np

from tfod_csf import provenance
from tfod_csf.files import openvino_operations
from tfod_csf.inference import no_telemetry  # noqa: F401 - before OpenVINO
from tfod_csf.inference.image_detector import DetectionFailedError
from tfod_csf.inference.network import DetectorError, OutputSpec, first_line

# Where an IR says what it computes with: "f32" or "bf16", set by export_openvino. int8 is in the graph's operations.
PRECISION = ["tfod_csf", "inference_precision"]
_PRECISIONS = ("f32", "bf16")
_INSTALL = "pip install 'tfod_csf[openvino]'"

_log = logging.getLogger("tfod_csf")


class OpenVINONetwork:
    """See `network.Network`.

    Args:
      path: folder with model.xml and model.bin.

    Raises:
      DetectorError: OpenVINO is not installed, or cannot load it, or it does not take one image.
    """

    def __init__(self, path: pathlib.Path):
        self.path = path
        try:
            import openvino
        except ImportError as error:
            raise DetectorError(f"{path}: is run by OpenVINO, which is not installed; {_INSTALL}.") from error
        core = openvino.Core()
        try:
            model = core.read_model(path / openvino_operations.GRAPH, path / openvino_operations.WEIGHTS)
            self._compiled = core.compile_model(model, "CPU", _settings(_precision(model, path)))
            ((self._input),) = self._compiled.inputs
        except (RuntimeError, ValueError) as error:
            raise DetectorError(
                f"{path}: OpenVINO {openvino.__version__} cannot load it ({first_line(error)}); export it again with "
                "export_openvino."
            ) from error
        self._dtype = self._input.element_type.to_dtype()
        self._request = self._compiled.create_infer_request()
        self._turn = threading.Lock()  # of several threads, one could be given the outputs of another's image
        self._ports = {port.get_any_name(): port for port in self._compiled.outputs}
        self.outputs: Mapping[str, OutputSpec] = {name: _output_spec(port) for name, port in self._ports.items()}

    def run(self, pixels: np.ndarray, jpeg: bytes | None = None) -> dict[str, np.ndarray]:
        """See `network.Network`; `jpeg` is not used."""
        images = np.ascontiguousarray(pixels[np.newaxis], dtype=self._dtype)
        with self._turn:
            try:
                self._request.infer([images], share_inputs=True)
            except RuntimeError as error:
                raise DetectionFailedError(first_line(error)) from error
            return {name: np.array(self._request.get_tensor(port).data) for name, port in self._ports.items()}


def _precision(model: Any, path: pathlib.Path) -> str:
    """What the IR is to be computed with on this processor.

    Raises:
      DetectorError: it does not say so: export_openvino did not write it.
    """
    wanted = model.get_rt_info(PRECISION).astype(str) if model.has_rt_info(PRECISION) else ""
    if wanted not in _PRECISIONS:
        raise DetectorError(f"{path}: does not say what it computes with; export the model with export_openvino.")
    if wanted == "bf16" and provenance.has_bfloat16() is False:
        _log.warning(
            "%s: is a bfloat16 model, and this processor has no bfloat16 instructions: it is computed in float32, as "
            "slowly as float32, and gives other scores than on a processor that has them.",
            path,
        )
        return "f32"
    return wanted


def _settings(precision: str) -> dict[str, Any]:
    # Threads that are bound to cores would sit on the same cores as those of another process of this command.
    return {"INFERENCE_PRECISION_HINT": precision, "PERFORMANCE_HINT": "LATENCY", "ENABLE_CPU_PINNING": False}


def _output_spec(port: Any) -> OutputSpec:
    shape = port.get_partial_shape()
    kind = port.get_element_type()
    dimensions = None if shape.rank.is_dynamic else tuple(d.get_length() if d.is_static else None for d in shape)
    return OutputSpec(kind.get_type_name(), kind.is_real() or kind.is_integral_number(), dimensions)
