"""docs/CONFIG.md: every config field with its type, its default, its meaning and how it is treated here.

Meanings are the comments in protos/*.proto; how a field is treated is its row in supported_fields.py. Written by
`python -m tfod_csf.config.generated_files`.
"""

import pathlib
import re

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from tfod_csf.config import supported_fields
from tfod_csf.config.protos import pipeline_pb2

PROTOS_DIR = pathlib.Path(__file__).parent / "protos"
_PACKAGE = "tfod_csf.protos."
_MESSAGE = re.compile(r"\s*message (\w+) \{")
_FIELD = re.compile(r"\s*(?:optional |repeated |required )?[\w.]+ (\w+) = \d+[^;]*;(?:\s*//\s*(.*))?$")
_OTHER_BLOCK = re.compile(r"\s*(?:enum|oneof) \w+ \{")
_COMMENT = re.compile(r"\s*//\s?(.*)$")

_HEAD = """# Config fields

Every field of a Faster R-CNN `pipeline.config`, in TFOD's schema: its default, what it means, and how it is treated
here. Generated from `tfod_csf/config/protos/*.proto` and `tfod_csf/config/supported_fields.py` by
`python -m tfod_csf.config.generated_files`; do not edit.

- **honored**: acts as in TFOD. *Same numbers*: any value gives the numbers TFOD gives with it.
- **only** some values are honored; others stop the run.
- **refused**: stops the run unless it is written with its default.
- **no effect**: accepted, because TFOD on TensorFlow 2 does nothing with it either; the run prints a notice.

`feature_extractor.type` decides which of TFOD's two families a network belongs to. Names with `_keras` are TFOD's on
TensorFlow 2. The same names without it, and `faster_rcnn_inception_v2`, are those of TensorFlow 1, on which the paper's
models were trained: other strides, paddings and constants, checkpoints of their own (CHECKPOINTS.md says which of them
the paper probably used), a regularizer on the dense layers, `first_stage_features_stride` 8 or 16, inputs of 33 px and
more.
"""


def render() -> str:
    """The whole page."""
    comments = proto_comments()
    sections = [_HEAD]
    for name, descriptor in _reachable_messages():
        sections.append(_section(name, descriptor, comments))
    sections.append(_refused_messages())
    return "\n".join(sections)


def proto_comments(protos_dir: pathlib.Path = PROTOS_DIR) -> dict[str, str]:
    """Comments of the .proto files by "Message" and "Message.field".

    A comment is on the lines above a message or field, or after the field on its line.
    """
    comments: dict[str, str] = {}
    for path in sorted(protos_dir.glob("*.proto")):
        _read_comments(path.read_text(encoding="utf-8").splitlines(), comments)
    return comments


def _read_comments(lines: list[str], comments: dict[str, str]) -> None:
    scope: list[str | None] = []  # message names; None for enum and oneof blocks
    above: list[str] = []
    for line in lines:
        comment, message, field = _COMMENT.match(line), _MESSAGE.match(line), _FIELD.match(line)
        if comment:
            above.append(comment[1].strip())
            continue
        place = ".".join(part for part in scope if part)
        if message:
            scope.append(message[1])
            comments[f"{place}.{message[1]}".lstrip(".")] = " ".join(above)
            if line.rstrip().endswith("}"):
                scope.pop()
        elif _OTHER_BLOCK.match(line):
            scope.append(None)
        elif line.strip() == "}":
            scope.pop()
        elif field and place:
            comments[f"{place}.{field[1]}"] = " ".join([*above, field[2] or ""]).strip()
        above = []


def _reachable_messages() -> list[tuple[str, Descriptor]]:
    """(name in the table, descriptor) of every message with rows, in the order in which a config meets them."""
    found: dict[str, Descriptor] = {}

    def visit(descriptor: Descriptor) -> None:
        name = descriptor.full_name.removeprefix(_PACKAGE)
        if name in found:
            return
        found[name] = descriptor
        for field in descriptor.fields:
            if field.message_type and supported_fields.FIELDS[name][field.name].kind in ("honored", "only"):
                visit(field.message_type)

    visit(pipeline_pb2.TrainEvalPipelineConfig.DESCRIPTOR)
    return list(found.items())


def _section(name: str, descriptor: Descriptor, comments: dict[str, str]) -> str:
    lines = [f"## {name}", ""]
    if comments.get(name):
        lines += [comments[name], ""]
    lines += ["| field | type | default | meaning | here |", "|---|---|---|---|---|"]
    for field in descriptor.fields:
        rule = supported_fields.FIELDS[name][field.name]
        cells = (
            f"`{field.name}`",
            _type_text(field),
            _default_text(field),
            comments.get(f"{name}.{field.name}", ""),
            _rule_text(rule, field),
        )
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join([*lines, ""])


def _type_text(field: FieldDescriptor) -> str:
    if field.message_type:
        name = field.message_type.full_name.removeprefix(_PACKAGE)
        text = f"[{name}](#{name.lower().replace('.', '')})" if name in supported_fields.FIELDS else name
    elif field.enum_type:
        text = ", ".join(value.name for value in field.enum_type.values)
    else:
        text = {field.TYPE_STRING: "text", field.TYPE_BOOL: "bool", field.TYPE_FLOAT: "float"}.get(field.type, "int")
    return f"{text} (list)" if field.is_repeated else text


def _default_text(field: FieldDescriptor) -> str:
    if field.is_repeated or field.message_type:
        return ""
    if field.enum_type:
        return field.enum_type.values_by_number[field.default_value].name
    if isinstance(field.default_value, bool):
        return str(field.default_value).lower()
    if isinstance(field.default_value, float):
        return f"{field.default_value:.7g}"
    return f'"{field.default_value}"' if isinstance(field.default_value, str) else str(field.default_value)


def _rule_text(rule: supported_fields.Rule, field: FieldDescriptor) -> str:
    if rule.kind == "honored":
        return "honored" + (f" ({rule.note})" if rule.note else "")
    if rule.kind == "same_numbers":
        return f"honored: same numbers ({rule.note})"
    if rule.kind == "only":
        values = ", ".join(f"`{str(value).lower() if isinstance(value, bool) else value}`" for value in rule.values)
        return f"only {values}" + (f" ({rule.note})" if rule.note else "")
    if rule.kind == "no_effect":
        return f"no effect: {rule.note}"
    return f"refused: {rule.note}; {rule.alternative(field.default_value)}"


def _refused_messages() -> str:
    return (
        "## Not in the schema\n\n`model.ssd`, `model.experimental_model` and `model.center_net` (TFOD's other meta-"
        "architectures) are not in the schema; a config that holds one is refused.\n"
    )
