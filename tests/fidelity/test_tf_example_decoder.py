"""The decoder's output against TFOD's for the recorded records."""

import json

import numpy as np
import pytest

from tfod_csf.data.records.tf_example_decoder import TfExampleDecoder
from tfod_csf.label_map import load_label_map


@pytest.mark.recorded("tf_example*.npz")
@pytest.mark.parametrize(("example", "decoded"), [("example", "decoded"), ("example_no_objects", "decoded_no_objects")])
def test_decoded(recorded, example, decoded):
    expected = json.loads(recorded.with_suffix(".json").read_text())[decoded]
    decoder = TfExampleDecoder(load_label_map(recorded.with_name(f"{recorded.stem}_label_map.pbtxt")))
    with np.load(recorded) as arrays:
        result = decoder.decode(arrays[example].tobytes())
        image = arrays["decoded_image"]
    assert set(result) == set(expected)
    np.testing.assert_array_equal(result["image"], image)
    for name, tensor in result.items():
        assert list(tensor.shape) == expected[name]["shape"], name
        dtype = expected[name]["dtype"]
        assert tensor.dtype.name == ("string" if dtype.startswith("|S") else dtype), name
        if isinstance(expected[name].get("value"), list):
            value = tensor.numpy()
            found = [value.decode()] if isinstance(value, bytes) else value.ravel().tolist()
            assert found == expected[name]["value"], name
