"""Converts a SavedModel to an OpenVINO IR in a process of its own, without TensorFlow and nothing of this package.

    python convert_saved_model.py SAVED_MODEL_DIR model.xml PRECISION

PRECISION, "f32" or "bf16", is written into the IR. `openvino_export.py` starts it by path: a conversion that goes wrong
ends in a segmentation fault, which must not be the end of the command.
"""

import sys

sys.modules["openvino_telemetry"] = None  # as tfod_csf/inference/no_telemetry.py does

import openvino
from openvino._offline_transformations import apply_moc_transformations
from openvino.frontend import FrontEndManager


def main(saved_model_dir: str, output: str, precision: str) -> None:
    """Writes model.xml and, beside it, model.bin with the weights in float32."""
    frontend = FrontEndManager().load_by_framework("tf")
    model = frontend.convert(frontend.load(saved_model_dir))
    # What openvino.convert_model does too: batch norm becomes part of the convolutions, for example.
    apply_moc_transformations(model, cf=True)
    model.set_rt_info(precision, ["tfod_csf", "inference_precision"])
    openvino.save_model(model, output, compress_to_fp16=False)


if __name__ == "__main__":
    main(*sys.argv[1:])
