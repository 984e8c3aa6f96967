"""The schema, field by field, against the descriptors recorded from TFOD (proto_fields.json)."""

import importlib
import json
import pathlib

import pytest
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.internal import type_checkers

from tfod_csf.config.config_reference import PROTOS_DIR

RECORDED_PACKAGE = "object_detection.protos."
OUR_PACKAGE = "tfod_csf.protos."
NOT_CARRIED = {"Ssd", "CenterNet", "ExperimentalModel"}
_TYPE_NAMES = {
    getattr(FieldDescriptor, name): name.removeprefix("TYPE_").lower()
    for name in dir(FieldDescriptor)
    if name.startswith("TYPE_")
}


@pytest.fixture(scope="module")
def recorded(reference_dir: pathlib.Path) -> dict:
    return json.loads((reference_dir / "proto_fields.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def ours() -> tuple[dict, dict]:
    """(messages, enums) by full name without the package, nested ones too."""
    messages, enums = {}, {}

    def visit(descriptor):
        messages[descriptor.full_name.removeprefix(OUR_PACKAGE)] = descriptor
        for enum in descriptor.enum_types:
            enums[enum.full_name.removeprefix(OUR_PACKAGE)] = enum
        for nested in descriptor.nested_types:
            visit(nested)

    for path in PROTOS_DIR.glob("*_pb2.py"):
        module = importlib.import_module(f"tfod_csf.config.protos.{path.stem}")
        for enum in module.DESCRIPTOR.enum_types_by_name.values():
            enums[enum.full_name.removeprefix(OUR_PACKAGE)] = enum
        for message in module.DESCRIPTOR.message_types_by_name.values():
            visit(message)
    return messages, enums


def _describe(field: FieldDescriptor) -> dict:
    label = "repeated" if field.is_repeated else "required" if field.is_required else "optional"
    described = {"number": field.number, "type": _TYPE_NAMES[field.type], "label": label}
    if field.containing_oneof:
        described["oneof"] = field.containing_oneof.name
    if field.message_type:
        described["message"] = field.message_type.full_name.removeprefix(OUR_PACKAGE)
    if field.enum_type:
        described["enum"] = field.enum_type.full_name.removeprefix(OUR_PACKAGE)
    if not field.is_repeated and not field.message_type:
        default = field.default_value
        if isinstance(default, float):
            default = type_checkers.ToShortestFloat(default)
        described["default"] = field.enum_type.values_by_number[default].name if field.enum_type else default
        described["has_default"] = field.has_default_value
    described["packed"] = bool(field.GetOptions().packed)
    described["deprecated"] = bool(field.GetOptions().deprecated)
    return described


def _expected(field: dict) -> dict:
    expected = {key: value for key, value in field.items() if key != "name"}
    for key in ("message", "enum"):
        if key in expected:
            expected[key] = expected[key].removeprefix(RECORDED_PACKAGE)
    if "default" in expected:
        expected.setdefault("has_default", False)
    expected.setdefault("packed", False)
    expected.setdefault("deprecated", False)
    return expected


def test_messages_and_enums_are_the_recorded_ones(recorded, ours):
    messages, enums = ours
    assert {name.removeprefix(RECORDED_PACKAGE) for name in recorded["messages"]} == set(messages)
    assert {name.removeprefix(RECORDED_PACKAGE) for name in recorded["enums"]} == set(enums)


def test_every_field_has_the_recorded_number_type_label_default_and_oneof(recorded, ours):
    messages, _ = ours
    differences = []
    for name, message in recorded["messages"].items():
        short = name.removeprefix(RECORDED_PACKAGE)
        expected = {
            field["name"]: _expected(field)
            for field in message["fields"]
            if field.get("message", "").removeprefix(RECORDED_PACKAGE) not in NOT_CARRIED
        }
        found = {field.name: _describe(field) for field in messages[short].fields}
        for field_name in expected.keys() | found.keys():
            if expected.get(field_name) != found.get(field_name):
                differences.append((short, field_name, expected.get(field_name), found.get(field_name)))
        assert messages[short].file.name.endswith("/" + message["file"])
    assert differences == []


def test_enum_values_are_the_recorded_ones(recorded, ours):
    _, enums = ours
    for name, enum in recorded["enums"].items():
        found = {value.name: value.number for value in enums[name.removeprefix(RECORDED_PACKAGE)].values}
        assert found == enum["values"], name


def test_the_package_is_our_own(ours):
    assert all(descriptor.file.package == "tfod_csf.protos" for descriptor in ours[0].values())
