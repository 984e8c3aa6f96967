"""Flags of TFOD's programs: ours have every one of them, of the same type and with the same default."""

import importlib
import json

import pytest

from tfod_csf.commands import command_line


@pytest.mark.recorded("cli_flags*.json")
def test_flags_types_and_defaults(recorded):
    programs = json.loads(recorded.read_text(encoding="utf-8"))
    ours = {program: program.rpartition(".")[-1] for program in programs}
    present = {program: name for program, name in ours.items() if name in command_line.command_names()}
    assert set(present) == set(programs)
    for program, name in present.items():
        flag_values = importlib.import_module(f"tfod_csf.commands.{name}").FLAGS
        for flag_name, expected in programs[program].items():
            flag = flag_values[flag_name]
            assert (flag.flag_type().removesuffix(" enum"), flag.default) == (expected["type"], expected["default"]), (
                f"{program} {flag_name}"
            )
            required = any("must have a value" in validator.message for validator in flag.validators)
            assert required >= expected["required"], f"{program} {flag_name}"
