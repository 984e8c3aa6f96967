"""`tfod_csf COMMAND --flags`: finds the command, parses its flags, turns a user's mistake into one sentence.

Each command has its own FlagValues, so that several can be imported by one process. Heavy imports belong inside `main`,
after the paths are checked: `--help` and a mistyped flag answer in under a second. What a command is and which ones
there are: `command_reference`.
"""

import difflib
import errno
import re
import sys
from collections.abc import Callable

from absl import flags
from absl import logging as absl_logging

from tfod_csf.commands import command_reference
from tfod_csf.commands.command_reference import ALIASES, command_names
from tfod_csf.errors import UserError

_HELP_FLAGS = ("--help", "-help", "-h", "--helpfull", "--helpshort")
# What absl says about a value, and what it means.
_PLAIN_WORDS = {
    "^flag (?=--)": "",
    r"invalid literal for int\(\) with base 10: .*": "expected a whole number",
    "could not convert string to float: .*": "expected a number",
    r"\('Non-boolean argument to boolean flag', .*\)": "expected true or false",
}


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
            raise UserError(f"{_sentence(error, flag_values)}; see tfod_csf {name} --help.") from error
    else:
        unknown = [argument for argument in rest[1:] if argument != "--"]
    if not unknown:
        return
    if not unknown[0].startswith("-"):
        raise UserError(f"argument {unknown[0]!r} has no flag before it; see tfod_csf {name} --help.")
    given = unknown[0].lstrip("-").split("=")[0]
    near = difflib.get_close_matches(given, list(flag_values), n=1)
    hint = f"did you mean --{near[0]}?" if near else f"see tfod_csf {name} --help."
    raise UserError(f"there is no flag --{given}; {hint}")


def _sentence(error: flags.Error, flag_values: flags.FlagValues) -> str:
    """absl's error in plain words; all missing flags at once, where absl names the first."""
    if "must have a value other than None" in str(error):
        required = [flag.name for flag in command_reference.flag_references(flag_values) if flag.is_required]
        missing = [f"--{flag_name}" for flag_name in required if flag_values[flag_name].value is None]
        last = f"{missing[-1]} {'are' if len(missing) > 1 else 'is'} required"
        return f"{', '.join(missing[:-1])} and {last}" if len(missing) > 1 else last
    message = " ".join(str(error).split()).rstrip(".")
    for words, plain in _PLAIN_WORDS.items():
        message = re.sub(words, plain, message)
    return message


def run(
    main: Callable[[], None], flag_values: flags.FlagValues, doc: str, name: str, arguments: list[str] | None = None
) -> int:
    """Runs one command.

    Returns:
      Exit status: 0 when it ended well, 1 after a `UserError` or a file that the system refuses (each printed as one
      sentence), 130 when interrupted.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    if any(argument in _HELP_FLAGS for argument in arguments):
        print(command_reference.help_text(name, flag_values, doc))
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
        print(f"tfod_csf {name}: stopped; run the same command again to resume.", file=sys.stderr)
        return 130
    return 0


def main(arguments: list[str] | None = None) -> int:
    """The console script."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if not arguments or arguments[0] in (*_HELP_FLAGS, "help"):
        print(command_reference.overview())
        return 0 if arguments else 1
    if arguments[0] == "--version":
        from tfod_csf import __version__

        print(f"tfod_csf {__version__}")
        return 0
    typed = arguments[0].removesuffix(".py")
    name = ALIASES.get(typed, typed)
    if name not in command_names():
        near = difflib.get_close_matches(typed, [*command_names(), *ALIASES], n=1)
        hint = f"did you mean {near[0]}?" if near else "tfod_csf --help lists the commands."
        print(f"tfod_csf: error: there is no command {typed!r}; {hint}", file=sys.stderr)
        return 1
    module = command_reference.command_module(name)
    return run(module.main, module.FLAGS, module.__doc__ or "", typed, arguments[1:])
