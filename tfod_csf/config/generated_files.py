"""Rewrites what is generated and committed: pipeline_configs/*.config, docs/CONFIG.md and *_pb2.py beside *.proto.

    python -m tfod_csf.config.generated_files        in the repository's root, needs grpcio-tools (extra [dev])

tests/config/test_generated_files.py fails when one of them is out of date.
"""

import pathlib

from tfod_csf.config import config_reference, detection_limits, from_records, network_presets, paper_settings
from tfod_csf.files import atomic_write

REPOSITORY = pathlib.Path(__file__).parent.parent.parent
PROTO_DIRS = (config_reference.PROTOS_DIR, REPOSITORY / "tfod_csf" / "files")


def preset_text(network: network_presets.NetworkPreset) -> str:
    """The committed config of one preset: the paper's settings, limits of 300, the zoo's anchors."""
    config = paper_settings.generate(network, anchor_scales=detection_limits.ZOO_ANCHOR_SCALES)
    _, anchor_remark = from_records.choose_anchor_scales(network, None)
    remarks = from_records.remarks_on(config, network, None, anchor_remark)
    return from_records.text_with_remarks(config, remarks)


def compile_protos(output_dir: pathlib.Path) -> None:
    """Compiles each *.proto of PROTO_DIRS into *_pb2.py in the same folder below `output_dir`."""
    from grpc_tools import protoc

    protos = sorted(str(path.relative_to(REPOSITORY)) for folder in PROTO_DIRS for path in folder.glob("*.proto"))
    status = protoc.main(["protoc", f"-I{REPOSITORY}", f"--python_out={output_dir}", *protos])
    if status:
        raise RuntimeError(f"protoc ended with status {status}")


def main() -> None:
    """Rewrites everything."""
    compile_protos(REPOSITORY)
    for network in network_presets.committed_presets():
        atomic_write.write_text(REPOSITORY / "pipeline_configs" / f"{network.name}.config", preset_text(network))
    atomic_write.write_text(REPOSITORY / "docs" / "CONFIG.md", config_reference.render())


if __name__ == "__main__":
    main()
