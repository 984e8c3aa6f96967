"""`tfod_csf COMMAND --flags`: finds the command, parses its flags, turns a user's mistake into one sentence.

A command is a module of this folder with a docstring (first line: what it does), `FLAGS = flags.FlagValues()` holding
its flags, and `main()`. Each command has its own FlagValues, so that several can be imported by one process. Heavy
imports belong inside `main`, after the paths are checked: `--help` and a mistyped flag answer in under a second.
"""

import ast
import difflib
import errno
import importlib
import pathlib
import re
import sys
from collections.abc import Callable

from absl import flags
from absl import logging as absl_logging

from tfod_csf.errors import UserError

_COMMANDS_DIR = pathlib.Path(__file__).parent
_NOT_COMMANDS = {"__init__", "command_line", "differential_flags"}


def command_names() -> list[str]:
    """Names of all commands, sorted."""
    return sorted(path.stem for path in _COMMANDS_DIR.glob("*.py") if path.stem not in _NOT_COMMANDS)


def command_summary(name: str) -> str:
    """First line of the command's docstring, read without importing the command."""
    source = (_COMMANDS_DIR / f"{name}.py").read_text(encoding="utf-8")
    return (ast.get_docstring(ast.parse(source)) or "").split("\n")[0]


def _overview() -> str:
    names = command_names()
    width = max(map(len, names), default=0)
    lines = ["usage: tfod_csf COMMAND [--flags]", "", "commands:"]
    lines += [f"  {name:<{width}}  {command_summary(name)}" for name in names]
    return "\n".join([*lines, "", "tfod_csf COMMAND --help lists a command's flags."])


def _flag_help(name: str, flag_values: flags.FlagValues, doc: str) -> str:
    lines = [f"usage: tfod_csf {name} [--flags]", "", (doc or "").strip(), "", "flags:"]
    for flag_name in sorted(flag_values):
        flag = flag_values[flag_name]
        if flag_name != flag.name:
            continue
        default = "" if flag.default is None else f" (default: {flag.default_as_str})"
        lines.append(f"  --{'[no]' if flag.boolean else ''}{flag.name}: {' '.join((flag.help or '').split())}{default}")
        if flag.short_name:
            lines[-1] = lines[-1].replace(":", f" (-{flag.short_name}):", 1)
    lines.append("  --alsologtostderr, --verbosity, --log_dir, ...: absl's logging flags")
    return "\n".join(lines)


def _is_no_flag(argument: str, flag_values: flags.FlagValues) -> bool:
    """Whether an argument looks like a flag (`--name`, `--name=value`) and is neither the command's nor absl's."""
    given = argument.removeprefix("--").split("=")[0]
    known = {*flag_values, *flags.FLAGS}
    return argument.startswith("--") and given != "" and not {given, given.removeprefix("no")} & known


def _parse(name: str, flag_values: flags.FlagValues, arguments: list[str]) -> None:
    """Parses the command's flags and absl's own; anything else is an error with the nearest flag's name."""
    for flag_name in flag_values:
        # One process may run a command twice (notebook, tests); the second run starts from the defaults again.
        flag_values[flag_name].unparse()
    try:
        rest = flag_values([name, *arguments], known_only=True)
        rest = flags.FLAGS(rest, known_only=True)
    except flags.Error as error:
        # A required flag that seems to be missing is often one that was mistyped; then that is what to say.
        unknown = [argument for argument in arguments if _is_no_flag(argument, flag_values)]
        if not unknown:
            message = re.sub(
                r"flag (--\w+)=None: Flag --\w+ must have a value other than None", r"\1 is required", str(error)
            )
            raise UserError(f"{name}: {' '.join(message.split()).rstrip('.')}; see tfod_csf {name} --help.") from error
    else:
        unknown = [argument for argument in rest[1:] if argument != "--"]
    if not unknown:
        return
    if not unknown[0].startswith("-"):
        raise UserError(f"{name}: argument {unknown[0]!r} has no flag before it; see tfod_csf {name} --help.")
    given = unknown[0].lstrip("-").split("=")[0]
    near = difflib.get_close_matches(given, list(flag_values), n=1)
    hint = f"did you mean --{near[0]}?" if near else f"see tfod_csf {name} --help."
    raise UserError(f"{name}: there is no flag --{given}; {hint}")


def run(
    main: Callable[[], None], flag_values: flags.FlagValues, doc: str, name: str, arguments: list[str] | None = None
) -> int:
    """Runs one command.

    Returns:
      Exit status: 0 when it ended well, 1 after a `UserError` or a file that the system refuses (each printed as one
      sentence), 130 when interrupted.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    if any(argument in ("--help", "-help", "-h", "--helpfull", "--helpshort") for argument in arguments):
        print(_flag_help(name, flag_values, doc))
        return 0
    try:
        _parse(name, flag_values, arguments)
        absl_logging.use_absl_handler()
        main()
    except UserError as error:
        print(f"tfod_csf {name}: error: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        if error.filename is None and error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise  # not about a path the user could look at
        reason = f"{error.filename or 'disk'}: {error.strerror}; check the path, its rights and the free space."
        print(f"tfod_csf {name}: error: {reason}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"tfod_csf {name}: stopped; run the same command again to go on.", file=sys.stderr)
        return 130
    return 0


def main(arguments: list[str] | None = None) -> int:
    """The console script."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if not arguments or arguments[0] in ("--help", "-h", "help"):
        print(_overview())
        return 0 if arguments else 1
    if arguments[0] == "--version":
        from tfod_csf import __version__

        print(f"tfod_csf {__version__}")
        return 0
    name = arguments[0].removesuffix(".py")
    if name not in command_names():
        near = difflib.get_close_matches(name, command_names(), n=1)
        hint = f"did you mean {near[0]}?" if near else "tfod_csf --help lists the commands."
        print(f"tfod_csf: error: there is no command {name!r}; {hint}", file=sys.stderr)
        return 1
    module = importlib.import_module(f"tfod_csf.commands.{name}")
    return run(module.main, module.FLAGS, module.__doc__ or "", name, arguments[1:])
