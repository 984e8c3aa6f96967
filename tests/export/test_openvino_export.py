"""export_openvino on the model made by hand, and int8 on the tiny network."""

import concurrent.futures
import json
import shutil
import sys

import numpy as np
import pytest

from tests.support import hand_made_model as by_hand
from tfod_csf import provenance
from tfod_csf.commands import export_openvino as command
from tfod_csf.files import atomic_write
from tfod_csf.inference import openvino_network
from tfod_csf.inference.detector import Detector
from tfod_csf.inference.network import DetectorError
from tfod_csf.model_folder import ModelFolder, ModelFolderError

pytest.importorskip("openvino")
pytest.importorskip("nncf")

BLACK = np.zeros([144, 192, 3], np.uint8)


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    info = {"calibration": {"temperature": 2.0}, "thresholds": {"min_score": 0.4}, "step": 7}
    return by_hand.save(tmp_path_factory.mktemp("source") / "m", info=info)


@pytest.fixture(scope="module")
def exported(source, tmp_path_factory):
    from tfod_csf.export import openvino_export

    output = tmp_path_factory.mktemp("exported") / "m_fp32"
    openvino_export.export(ModelFolder.open(source), output, "fp32")
    return output


def test_the_detector_takes_it_and_finds_the_same(source, exported):
    found = Detector.open(ModelFolder.open(exported)).detect(BLACK, "a.png")
    expected = Detector(source / "saved_model", ModelFolder.open(source).label_map).detect(BLACK, "a.png")
    np.testing.assert_allclose(found.boxes, expected.boxes, atol=1e-3)
    np.testing.assert_allclose(found.multiclass_scores, expected.multiclass_scores, atol=1e-6)
    assert found.classes.tolist() == [1, 4, 3, 2, 3]


def test_images_of_other_sizes(exported):
    model = Detector.open(ModelFolder.open(exported))
    for height, width in ((72, 96), (30, 200)):
        found = model.detect(np.zeros([height, width, 3], np.uint8))
        np.testing.assert_allclose(found.boxes[0], by_hand.CANDIDATES[0].box * np.array([height, width] * 2), atol=1e-3)


def test_threads_that_share_a_model_are_each_given_their_own_images_outputs(tmp_path):
    """Some Beam runners give a process several patients at a time."""
    import openvino
    from openvino import opset13

    pixels = opset13.parameter([1, -1, -1, 3], dtype=np.uint8, name="pixels")
    mean = opset13.reduce_mean(opset13.convert(pixels, "f32"), np.array([1, 2, 3]), keep_dims=False)
    mean.output(0).set_names({"mean"})
    graph = openvino.Model([opset13.result(mean)], [pixels], "mean")
    graph.set_rt_info("f32", openvino_network.PRECISION)
    openvino.save_model(graph, tmp_path / "model.xml", compress_to_fp16=False)
    network = openvino_network.OpenVINONetwork(tmp_path)

    def means(gray):
        image = np.full((300, 400, 3), gray, np.uint8)
        return {float(network.run(image)["mean"][0]) for _ in range(50)}

    with concurrent.futures.ThreadPoolExecutor(2) as threads:
        assert list(threads.map(means, (10, 200))) == [{10.0}, {200.0}]


def test_what_was_measured_with_other_scores_is_not_taken_over(source, exported):
    model = ModelFolder.open(exported)
    assert (model.vouched_for_by, model.classification) == ("SHA256SUMS", None)
    assert "calibration" not in model.info
    assert model.info["source_model"]["calibration"] == {"temperature": 2.0}
    assert (model.thresholds["min_score"], model.info["step"]) == (0.4, 7)
    assert model.info["difference_from_saved_model"]["num_missing"] == 0
    assert Detector.open(model).temperature == 1.0
    assert Detector.open(model).fingerprint == model.info["openvino"]["fingerprint"]


def test_bfloat16_without_instructions_is_computed_in_float32_and_says_so(source, tmp_path, monkeypatch):
    from tfod_csf.export import openvino_export

    monkeypatch.setattr(provenance, "has_bfloat16", lambda: False)
    openvino_export.export(ModelFolder.open(source), tmp_path / "bf16", "bf16")
    model = ModelFolder.open(tmp_path / "bf16")
    assert model.info["difference_from_saved_model"]["computed_in"] == "fp32"
    said = []
    monkeypatch.setattr(openvino_network._log, "warning", lambda text, *values: said.append(text % values))
    bf16 = Detector.open(model)
    assert len(said) == 1
    assert "bf16/openvino: is a bfloat16 model, and this processor has no bfloat16 instructions" in said[0]
    np.testing.assert_allclose(bf16.detect(BLACK).scores[0], 0.95, atol=1e-6)


def test_an_ir_of_somebody_else_is_refused(exported, tmp_path):
    text = (exported / "openvino" / "model.xml").read_text(encoding="utf-8")
    (tmp_path / "model.bin").write_bytes((exported / "openvino" / "model.bin").read_bytes())
    labels = ModelFolder.open(exported).label_map
    (tmp_path / "model.xml").write_text(text.replace("inference_precision", "precision"), encoding="utf-8")
    with pytest.raises(DetectorError, match="does not say what it computes with"):
        Detector(tmp_path, labels)
    (tmp_path / "model.xml").write_text(text.replace('type="Softmax"', 'type="X"')[: len(text) // 2], encoding="utf-8")
    with pytest.raises(DetectorError, match=r"OpenVINO .* cannot load it"):
        Detector(tmp_path, labels)


def test_without_openvino_a_sentence(exported, monkeypatch):
    model = ModelFolder.open(exported)
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(DetectorError, match=r"not installed; pip install 'tfod_csf\[openvino\]'"):
        Detector.open(model)


def test_another_network_is_not_exported(source, tmp_path, monkeypatch):
    from tfod_csf.export import openvino_export

    other = by_hand.save(tmp_path / "other", [by_hand.Candidate((0.1, 0.1, 0.4, 0.4), 1, 0.9)])
    convert = openvino_export._convert
    monkeypatch.setattr(
        openvino_export, "_convert", lambda folder, *arguments: convert(ModelFolder.open(other), *arguments)
    )
    with pytest.raises(openvino_export.OpenVINOExportError, match="the IR finds something else than the SavedModel"):
        openvino_export.export(ModelFolder.open(source), tmp_path / "out", "fp32")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["other"]


def run(*arguments):
    from tfod_csf.commands import command_line

    return command_line.run(command.main, command.FLAGS, command.__doc__, "export_openvino", list(arguments))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--format=int8"], "takes --calibration_input_path"),
        (["--format=fp32", "--calibration_images_dir=x"], "other formats take neither"),
        (["--output_dir=."], "which no export wrote"),
    ],
)
def test_flags_that_do_not_fit(source, tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notes.txt").write_text("x")
    given = [f"--model={source}", f"--output_dir={tmp_path / 'out'}", *arguments]
    assert run(*given) != 0
    assert message in capsys.readouterr().err


def test_models_that_openvino_cannot_take_and_folders_that_are_kept(source, exported, tmp_path):
    from tfod_csf.export import openvino_export

    with pytest.raises(openvino_export.OpenVINOExportError, match="is an IR already"):
        openvino_export.check_export(ModelFolder.open(exported), tmp_path / "out")
    with pytest.raises(openvino_export.OpenVINOExportError, match="holds saved_model of another export"):
        openvino_export.check_export(ModelFolder.open(source), source)
    encoded = by_hand.save(tmp_path / "encoded", input_type="encoded_image_string_tensor")
    with pytest.raises(openvino_export.OpenVINOExportError, match="takes encoded_image_string_tensor, and OpenVINO"):
        openvino_export.check_export(ModelFolder.open(encoded), tmp_path / "out")


def test_a_changed_ir_is_refused(exported, tmp_path):
    info = json.loads((exported / "model.json").read_text(encoding="utf-8"))

    shutil.copytree(exported, tmp_path / "m")
    atomic_write.write_json(tmp_path / "m" / "model.json", info | {"openvino": {"fingerprint": "0"}})
    with pytest.raises(ModelFolderError, match=r"model\.json was changed; model\.json was written for another IR"):
        ModelFolder.open(tmp_path / "m")


@pytest.mark.slow
def test_the_tiny_network_in_float32_and_int8(tiny_exported_model, records_dir, tmp_path, capsys, monkeypatch):
    from tfod_csf.export import openvino_export

    # Whose comparison allows a difference of 1e-3.
    differences = openvino_export.export(ModelFolder.open(tiny_exported_model), tmp_path / "fp32", "fp32")
    assert differences.num_cells > 0
    # Random weights give scores that hang on the last bits, and three images are few.
    monkeypatch.setitem(openvino_export._TOLERANCES, "int8", openvino_export._Tolerance(0.05, 0.2, 0.5))
    output = tmp_path / "int8"
    assert (
        run(
            f"--model={tiny_exported_model}",
            f"--output_dir={output}",
            "--format=int8",
            f"--calibration_input_path={records_dir}/train.record-*",
            "--calibration_images=3",
        )
        == 0
    )
    assert "IR and SavedModel were compared on" in capsys.readouterr().out
    model = ModelFolder.open(output)
    assert model.info["openvino"]["calibration_images"] == 3
    assert "FakeQuantize" in (output / "openvino" / "model.xml").read_text(encoding="utf-8")
    image = np.random.default_rng(3).integers(0, 255, [48, 60, 3]).astype(np.uint8)
    found = Detector.open(model).detect(image)
    expected = Detector.open(ModelFolder.open(tiny_exported_model)).detect(image)
    assert len(found) == len(expected)
    assert found.scores[0] != expected.scores[0]
