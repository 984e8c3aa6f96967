"""Which commands there are and what each says about itself: the source of `--help`, of the overview and of the docs.

    python -m tfod_csf.commands.command_reference docs/COMMANDS.md

A command is a module of this folder with a docstring (first line: what it does, in the imperative),
`FLAGS = flags.FlagValues()` holding its flags in the order in which a person should read them, and `main()`. Where it
has a `BARE_FLAG`, values of that flag may be given without it.
`STAGES` names every command once, in the order of the work. Nothing here imports TensorFlow.
"""

import ast
import dataclasses
import functools
import importlib
import pathlib
import re
import shutil
import sys
import textwrap
from collections.abc import Iterator
from types import ModuleType

from absl import flags

from tfod_csf.files import atomic_write

STAGES: dict[str, tuple[str, ...]] = {
    "data": (
        "create_csf_tf_record",
        "dataset_report",
        "find_label_problems",
        "suggest_labels",
        "create_pascal_tf_record",
        "generate_tfrecord",
        "partition_dataset",
    ),
    "training": ("generate_pipeline_config", "model_main_tf2", "training_report", "cross_validate"),
    "export": (
        "exporter_main_v2",
        "export_openvino",
        "import_frozen_graph",
        "convert_checkpoint",
        "pack_model",
        "models",
        "describe_domain",
        "model_check",
        "evaluate",
    ),
    "inference": ("batch_infer", "archive_infer", "merge_shards", "differential", "report", "export_detections"),
    "study": ("agreement", "observers", "repeatability", "turnaround", "saturation", "calibrate"),
    "review": ("review_export", "review_serve", "review_import", "review_agreement", "sign_report", "export_report"),
    "other": ("blind", "unblind", "synthesize", "simulate_cohort", "compare_with_truth", "benchmark"),
}
"""Commands by stage of the work; every stage and command once."""

ALIASES = {"train": "model_main_tf2", "export": "exporter_main_v2", "infer": "batch_infer"}
"""Short names of the commands that everybody needs."""

_MAX_WIDTH = 120
# absl appends this to the text of a flag that may be repeated.
_EXAMPLE = "Example: "
# A flag within a sentence, perhaps with its value.
_TYPED = re.compile(r"(?<![\w-])--?[A-Za-z]\w*(=([\w,=./:-]*[\w=])?)?")
_PAGE_HEAD = """# Commands

Every command with its flags, as `tfod_csf COMMAND --help` prints them. Generated from the flags by
`python -m tfod_csf.commands.command_reference docs/COMMANDS.md`; do not edit.

A flag is given as `--flag=value`, a yes or no as `--flag` or `--noflag`. absl's logging flags (`--verbosity`,
`--alsologtostderr`, `--log_dir`) work with every command. Tables and figures are those of the paper.
"""
_REPEAT = re.compile(r"\.?;\s+repeat this option to specify a list of values$")


@dataclasses.dataclass(frozen=True)
class FlagReference:
    """One flag as a person reads it.

    Attributes:
      name: without the dashes.
      short_name: one letter, or "".
      old_names: earlier names that still work.
      kind: "bool", "int", "float", "string", "string enum", "comma separated list of strings", ... (absl's words).
      choices: the allowed values of an enum, else empty.
      default: as it would be typed; "" when there is none.
      is_required: whether the command refuses to start without it.
      is_repeatable: whether it may be given several times.
      text: what it means, on one line.
    """

    name: str
    short_name: str
    old_names: tuple[str, ...]
    kind: str
    choices: tuple[str, ...]
    default: str
    is_required: bool
    is_repeatable: bool
    text: str

    @property
    def heading(self) -> str:
        """The flag's name with what can be given, for example "--count_unknown=apart|as_predicted (default: apart)"."""
        name = f"--{'[no]' if self.kind == 'bool' else ''}{self.name}"
        notes = [f"-{self.short_name}"] if self.short_name else []
        notes += ["required"] if self.is_required else []
        notes += ["comma-separated"] if "comma" in self.kind else []
        notes += ["may be repeated"] if self.is_repeatable else []
        notes += [f"default: {self.default}"] if self.default else []
        notes += [f"old name: --{old}" for old in self.old_names]
        choices = f"={'|'.join(self.choices)}" if self.choices else ""
        return f"{name}{choices}" + (f" ({', '.join(notes)})" if notes else "")


@dataclasses.dataclass(frozen=True)
class CommandReference:
    """One command as a person reads it.

    Attributes:
      name: as typed after `tfod_csf`.
      alias: its short name, or "".
      stage: key of `STAGES`.
      summary: one line, imperative.
      description: the rest of the command's docstring, paragraphs separated by empty lines; may be "".
      flags: in the order of definition; absl's own logging flags are not among them.
    """

    name: str
    alias: str
    stage: str
    summary: str
    description: str
    flags: tuple[FlagReference, ...]


def command_names() -> list[str]:
    """Names of all commands, stage by stage."""
    return [name for names in STAGES.values() for name in names]


def command_module(name: str) -> ModuleType:
    """The module of a command (not of an alias); importing one is cheap."""
    return importlib.import_module(f"tfod_csf.commands.{name}")


@functools.cache
def command_docstring(name: str) -> str:
    """Docstring of a command, read without importing it."""
    source = pathlib.Path(__file__).with_name(f"{name}.py").read_text(encoding="utf-8")
    return ast.get_docstring(ast.parse(source)) or ""


def command_summary(name: str) -> str:
    """First line of a command's docstring, read without importing it."""
    return command_docstring(name).partition("\n")[0]


def flag_references(flag_values: flags.FlagValues) -> tuple[FlagReference, ...]:
    """A command's flags in the order of their definition."""
    old_names: dict[str, list[str]] = {}
    for name in flag_values:
        if (original := _original_name(flag_values[name])) is not None:
            old_names.setdefault(original, []).append(name)
    own = [name for name in flag_values if flag_values[name].name == name and not _original_name(flag_values[name])]
    return tuple(_flag_reference(flag_values[name], tuple(old_names.get(name, ()))) for name in own)


def _original_name(flag: flags.Flag) -> str | None:
    """The flag that an alias (`flags.DEFINE_alias`) stands for; None for any other flag."""
    alias = re.fullmatch(r"Alias for --(\w+)\.", flag.help or "")
    return alias[1] if alias else None


def _flag_reference(flag: flags.Flag, old_names: tuple[str, ...]) -> FlagReference:
    choices = tuple(getattr(flag.parser, "enum_values", ()))
    text = " ".join((flag.help or "").split())
    is_repeatable = isinstance(flag, flags.MultiFlag)
    text = _REPEAT.sub(".", text).removeprefix(f"<{'|'.join(choices)}>: ")
    return FlagReference(
        name=flag.name,
        short_name=flag.short_name or "",
        old_names=old_names,
        kind=flag.flag_type(),
        choices=choices,
        default=_default_text(flag.default),
        is_required=any("must have a value" in validator.message for validator in flag.validators),
        is_repeatable=is_repeatable,
        text=text,
    )


def _default_text(default: object) -> str:
    """A default as a person would type it.

    >>> [_default_text(value) for value in (None, "", [], False, 0, 10.0, ["a", "b"])]
    ['', '', '', 'false', '0', '10', 'a,b']
    """
    if default is None:
        return ""
    if isinstance(default, bool):
        return str(default).lower()
    if isinstance(default, list):
        return ",".join(map(_default_text, default))
    return f"{default:g}" if isinstance(default, float) else str(default)


def commands() -> Iterator[CommandReference]:
    """All commands, stage by stage, in the order of the overview."""
    alias_of = {name: alias for alias, name in ALIASES.items()}
    for stage, names in STAGES.items():
        for name in names:
            summary, _, description = command_docstring(name).partition("\n")
            flag_values = command_module(name).FLAGS
            yield CommandReference(
                name, alias_of.get(name, ""), stage, summary, description.strip(), flag_references(flag_values)
            )


def overview() -> str:
    """What `tfod_csf --help` prints: every command with its summary, by stage."""
    alias_of = {name: alias for alias, name in ALIASES.items()}
    shown = {name: f"{name}, {alias_of[name]}" if name in alias_of else name for name in command_names()}
    width = max(map(len, shown.values()))
    lines = ["usage: tfod_csf COMMAND [--flag=value ...]"]
    for stage, names in STAGES.items():
        lines += ["", f"{stage}:"]
        lines += [f"  {shown[name]:<{width}}  {command_summary(name)}" for name in names]
    lines += [
        "",
        "tfod_csf COMMAND --help describes a command and its flags. Tables and figures are those of the paper.",
    ]
    return "\n".join(lines)


def help_text(name: str, flag_values: flags.FlagValues, docstring: str) -> str:
    """What `tfod_csf NAME --help` prints.

    Args:
      name: the command as it was typed, perhaps an alias.
      flag_values: the command's flags.
      docstring: the command's docstring.
    """
    usage = f"usage: tfod_csf {name} [--flag=value ...]"
    others = {**ALIASES, **{command: alias for alias, command in ALIASES.items()}}
    usage += f"   (the same as tfod_csf {others[name]})" if name in others else ""
    width = min(shutil.get_terminal_size((_MAX_WIDTH, 24)).columns, _MAX_WIDTH)
    lines = [usage, "", (docstring or "").strip(), "", "flags:"]
    for flag in flag_references(flag_values):
        lines.append(f"  {flag.heading}")
        lines += textwrap.wrap(flag.text, width, initial_indent=" " * 6, subsequent_indent=" " * 6)
    return "\n".join([*lines, "", "Also absl's logging flags: --verbosity, --alsologtostderr, --log_dir, ..."])


def render_markdown() -> str:
    """The whole of docs/COMMANDS.md."""
    sections, stage = [_PAGE_HEAD], ""
    for command in commands():
        if command.stage != stage:
            stage = command.stage
            sections.append(f"## {stage.capitalize()}\n")
        sections.append(_command_section(command))
    return "\n".join(sections)


def _command_section(command: CommandReference) -> str:
    lines = [f"### {command.name}", "", _markdown(command.summary)]
    lines += ["", f"Short name: `tfod_csf {command.alias}`."] if command.alias else []
    for paragraph in command.description.split("\n\n"):
        if paragraph.startswith(_EXAMPLE):
            example = " ".join(paragraph.removeprefix(_EXAMPLE).split())
            lines += ["", "```sh", example, "```"]
        elif paragraph:
            lines += ["", _markdown(paragraph)]
    lines += ["", "| flag | default | meaning |", "|---|---|---|"]
    return "\n".join([*lines, *map(_flag_row, command.flags), ""])


def _flag_row(flag: FlagReference) -> str:
    """One row of a command's table.

    >>> _flag_row(FlagReference("mode", "m", ("way",), "string enum", ("a", "b"), "a", False, False, "<x> or *."))
    '| `--mode` `-m` | `a` | &lt;x> or \\\\*. Values: `a`, `b`. Old name: `--way`. |'
    """
    default = "required" if flag.is_required else f"`{flag.default}`" if flag.default else ""
    notes = [f"Values: {', '.join(f'`{choice}`' for choice in flag.choices)}."] if flag.choices else []
    notes += ["Comma-separated."] if "comma" in flag.kind else []
    notes += ["May be repeated."] if flag.is_repeatable else []
    notes += [f"Old name: `--{name}`." for name in flag.old_names]
    cells = [f"`--{flag.name}`" + (f" `-{flag.short_name}`" if flag.short_name else ""), default]
    cells.append(" ".join([_markdown(flag.text), *notes]))
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _markdown(text: str) -> str:
    """A text of ours, in which only backticks mean anything, as Markdown; flags become code."""
    parts = text.split("`")
    parts[::2] = [_TYPED.sub(r"`\g<0>`", part.replace("*", "\\*").replace("<", "&lt;")) for part in parts[::2]]
    return "`".join(parts)


if __name__ == "__main__":
    atomic_write.write_text(sys.argv[1], render_markdown())
