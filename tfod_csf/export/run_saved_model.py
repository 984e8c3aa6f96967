"""Runs a SavedModel in a process that imports TensorFlow and NumPy and nothing of this package.

    python run_saved_model.py SAVED_MODEL_DIR INPUTS.npz OUTPUTS.npz

Keys of INPUTS.npz: "<call>|<signature>|<position>"; several positions of one call are one batch of strings (stored as
uint8), position "tensor" is the input itself. OUTPUTS.npz: "<call>|<output>". The signature "" is the loaded object.
`parity.py` starts it by path, so that not even this package's __init__ is imported.
"""

import os
import sys

os.environ["CUDA_VISIBLE_DEVICES"] = "-1"  # the parent computes on the CPU too
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
import tensorflow as tf


def main(saved_model_dir: str, inputs_path: str, outputs_path: str) -> None:
    """Calls the SavedModel with every input and stores what it returns."""
    loaded = tf.saved_model.load(saved_model_dir)
    calls: dict[tuple[str, str], dict[str, np.ndarray]] = {}
    with np.load(inputs_path) as inputs:
        for key in inputs.files:
            call, signature, position = key.split("|")
            calls.setdefault((call, signature), {})[position] = inputs[key]
    outputs = {}
    for (call, signature), parts in sorted(calls.items()):
        if "tensor" in parts:
            value = tf.constant(parts["tensor"])
        else:
            value = tf.constant([parts[position].tobytes() for position in sorted(parts)])
        result = loaded.signatures[signature](input_tensor=value) if signature else loaded(value)
        outputs |= {f"{call}|{name}": tensor.numpy() for name, tensor in result.items()}
    foreign = {"tfod_csf", "official", "tf_keras"} & set(sys.modules)
    if foreign:
        raise RuntimeError(f"the SavedModel needs {', '.join(sorted(foreign))}")
    np.savez(outputs_path, **outputs)


if __name__ == "__main__":
    main(*sys.argv[1:])
