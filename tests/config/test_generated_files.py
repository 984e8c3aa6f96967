"""What is generated and committed matches its sources."""

import importlib.util
import subprocess
import sys

import pytest

from tfod_csf.config import config_reference, generated_files, network_presets, supported_fields

REWRITE = "run python -m tfod_csf.config.generated_files"


@pytest.mark.parametrize("network", network_presets.committed_presets(), ids=lambda network: network.name)
def test_preset_files(network):
    path = generated_files.REPOSITORY / "pipeline_configs" / f"{network.name}.config"
    assert path.read_text(encoding="utf-8") == generated_files.preset_text(network), REWRITE


def test_no_other_presets_are_committed():
    names = {path.stem for path in (generated_files.REPOSITORY / "pipeline_configs").glob("*.config")}
    assert names == {network.name for network in network_presets.committed_presets()}


def test_config_page():
    path = generated_files.REPOSITORY / "docs" / "CONFIG.md"
    assert path.read_text(encoding="utf-8") == config_reference.render(), REWRITE


def test_every_field_of_the_table_has_a_comment_in_its_proto():
    comments = config_reference.proto_comments()
    names = {f"{message}.{field}" for message, rules in supported_fields.FIELDS.items() for field in rules}
    missing = {name for name in names | set(supported_fields.FIELDS) if not comments.get(name)}
    assert missing == set()


def test_compiled_protos(tmp_path):
    if importlib.util.find_spec("grpc_tools") is None:
        pytest.skip("needs grpcio-tools")
    # In a process of its own: importing grpc_tools where TensorFlow is loaded ends in a segmentation fault.
    code = "import sys; from tfod_csf.config import generated_files; generated_files.compile_protos(sys.argv[1])"
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True)
    compiled = {path.relative_to(tmp_path): path.read_text() for path in tmp_path.rglob("*_pb2.py")}
    committed = [path for folder in generated_files.PROTO_DIRS for path in folder.glob("*_pb2.py")]
    assert compiled == {path.relative_to(generated_files.REPOSITORY): path.read_text() for path in committed}, REWRITE
