"""What `--help`, the overview and the reference in docs/ are made of."""

import pathlib
import re

import pytest
from absl import flags

from tfod_csf.commands import command_reference
from tfod_csf.commands.command_reference import ALIASES, STAGES

REPOSITORY = pathlib.Path(command_reference.__file__).parents[2]
COMMANDS = {command.name: command for command in command_reference.commands()}


def test_every_module_with_a_main_is_in_one_stage():
    folder = pathlib.Path(command_reference.__file__).parent
    modules = {path.stem for path in folder.glob("*.py") if "\ndef main() -> None:" in path.read_text(encoding="utf-8")}
    listed = [name for names in STAGES.values() for name in names]
    assert len(listed) >= 25
    assert sorted(listed) == sorted(modules)


def test_aliases_are_names_of_commands_and_of_nothing_else():
    assert set(ALIASES.values()) <= set(COMMANDS)
    assert not set(ALIASES) & set(COMMANDS)


def test_the_overview_holds_every_command_below_its_stage():
    stage, found = "", {}
    for line in command_reference.overview().splitlines():
        if line.startswith("  "):
            name, _, summary = line.strip().partition("  ")
            found[name.split(",")[0]] = (stage, summary.strip())
        else:
            stage = line.rstrip(":")
    assert found == {command.name: (command.stage, command.summary) for command in COMMANDS.values()}


def test_flags_come_in_the_order_of_definition_with_what_a_person_can_type():
    flag_values = flags.FlagValues()
    flags.DEFINE_string("zebra", None, "Striped.", required=True, short_name="z", flag_values=flag_values)
    flags.DEFINE_boolean("apple", True, "Round.", flag_values=flag_values)
    flags.DEFINE_enum("mode", "b", ["a", "b"], "Way.", flag_values=flag_values)
    flags.DEFINE_multi_string("name", None, "Who.", flag_values=flag_values)
    flags.DEFINE_float("ratio", 0.5, "How\n  much.", flag_values=flag_values)
    flags.DEFINE_alias("share", "ratio", flag_values=flag_values)
    found = command_reference.flag_references(flag_values)
    assert [(flag.heading, flag.text) for flag in found] == [
        ("--zebra (-z, required)", "Striped."),
        ("--[no]apple (default: true)", "Round."),
        ("--mode=a|b (default: b)", "Way."),
        ("--name (may be repeated)", "Who."),
        ("--ratio (default: 0.5, old name: --share)", "How much."),
    ]


def test_help_wraps_texts_and_says_what_an_alias_is(monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    flag_values = flags.FlagValues()
    flags.DEFINE_string("path", None, "One two three four five six seven eight.", flag_values=flag_values)
    lines = command_reference.help_text("train", flag_values, "Summary.\n\nMore.").splitlines()
    assert lines[:9] == [
        "usage: tfod_csf train [--flag=value ...]   (the same as tfod_csf model_main_tf2)",
        "",
        "Summary.",
        "",
        "More.",
        "",
        "flags:",
        "  --path",
        "      One two three four five six seven",
    ]
    assert lines[9] == "      eight."


@pytest.mark.parametrize("command", COMMANDS.values(), ids=lambda command: command.name)
def test_summaries_and_texts_stand_alone(command):
    first = command.summary.split()[0]
    assert not first.endswith(("s", "ed", "ing")), "not in the imperative"
    assert command.summary.endswith(".")
    assert len(command.summary) <= 90
    assert command.flags
    for flag in command.flags:
        assert flag.text[0].isupper() or flag.text.split()[0] in COMMANDS, flag.name
        assert flag.text.endswith("."), flag.name
        assert "repeat this option" not in flag.text, flag.name
        assert not re.match(r"(Its|Their|The same|Such|Of|Whose)\b", flag.text), f"{flag.name} leans on another flag"


def test_the_page_of_the_docs_is_up_to_date():
    text = (REPOSITORY / "docs" / "COMMANDS.md").read_text(encoding="utf-8")
    remedy = "run: python -m tfod_csf.commands.command_reference docs/COMMANDS.md"
    assert text == command_reference.render_markdown(), remedy


def test_a_row_of_the_page_shows_what_can_be_typed_and_holds_no_html():
    flag_values = flags.FlagValues()
    flags.DEFINE_enum("mode", "b", ["a", "b"], "Way of <patient> in `<dir>/*` or *.jpg.", flag_values=flag_values)
    flags.DEFINE_multi_string(
        "name",
        None,
        "Who | what; see --mode=a,b= and -x, not x-y.",
        required=True,
        short_name="n",
        flag_values=flag_values,
    )
    flags.DEFINE_list("sizes", ["1", "2"], "How large.", flag_values=flag_values)
    flags.DEFINE_alias("size", "sizes", flag_values=flag_values)
    assert [command_reference._flag_row(flag) for flag in command_reference.flag_references(flag_values)] == [
        "| `--mode` | `b` | Way of &lt;patient> in `<dir>/*` or \\*.jpg. Values: `a`, `b`. |",
        "| `--name` `-n` | required | Who \\| what; see `--mode=a,b=` and `-x`, not x-y. May be repeated. |",
        "| `--sizes` | `1,2` | How large. Comma-separated. Old name: `--size`. |",
    ]
