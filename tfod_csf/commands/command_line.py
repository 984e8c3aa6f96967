"""`tfod_csf COMMAND --flags`: finds the command, parses its flags, turns a user's mistake into one sentence.

Each command has its own FlagValues, so that several can be imported by one process. Heavy imports belong inside `main`,
after the paths are checked: `--help` and a mistyped flag answer in under a second. What a command is and which ones
there are: `command_reference`.
"""

import contextlib
import difflib
import errno
import io
import logging
import math
import os
import re
import signal
import sys
from collections.abc import Callable, Sequence

from absl import flags
from absl import logging as absl_logging

from tfod_csf import wording
from tfod_csf.commands import command_reference, stop_signals
from tfod_csf.commands.command_reference import ALIASES, command_names
from tfod_csf.errors import UserError
from tfod_csf.files import given_files

_HELP_FLAGS = ("--help", "-help", "-h", "--helpfull", "--helpshort")
# What absl says about a value, and what it means.
_PLAIN_WORDS = {
    "^flag (?=--)": "",
    r"invalid literal for int\(\) with base 10: .*": "expected a whole number",
    "could not convert string to float: .*": "expected a number",
    r"\('Non-boolean argument to boolean flag', .*\)": "expected true or false",
}
# Of flags whose default is not empty, those that may be: training from scratch, no prefix.
_MAY_BE_EMPTY = ("fine_tune_checkpoint", "image_prefix")
_LONG_DASHES = ("\u2010", "\u2011", "\u2012", "\u2013", "\u2014", "\u2212")
# An error without a path that the program itself has made.
_OWN_FAULTS = (errno.EBADF, errno.EINVAL)
_ADVICE = {
    errno.ENOSPC: "make room and run the same command again",
    errno.EDQUOT: "make room and run the same command again",
    errno.EROFS: "give a folder that can be written",
    errno.EMFILE: "raise the limit of open files (ulimit -n) and run the same command again",
    errno.ENAMETOOLONG: "shorten the name",
    errno.EIO: "the disk or network share has a fault; check it and run the same command again",
    errno.ESTALE: "the network share was removed or mounted again; run the same command again",
}
_BROKEN_PIPE = 141  # as of a program that SIGPIPE ends


def _is_no_flag(argument: str, flag_values: flags.FlagValues) -> bool:
    """Whether an argument looks like a flag (`--name`, `--name=value`) and is neither the command's nor absl's."""
    given = argument.removeprefix("--").split("=")[0]
    known = {*flag_values, *flags.FLAGS}
    return argument.startswith("--") and given != "" and not {given, given.removeprefix("no")} & known


def _parse(name: str, flag_values: flags.FlagValues, arguments: list[str], bare_flag: str = "") -> None:
    """Parses the command's flags and absl's own; anything else is an error with the nearest flag's name.

    A "--" is ignored: TFOD's usage lines have it before the flags, where absl would drop all that follow.

    Args:
      bare_flag: the flag whose values may be given without it, where it is not given itself.
    """
    arguments = [argument for argument in arguments if argument != "--"]
    if bare_flag and f"--{bare_flag}" not in arguments:
        arguments = [f"--{bare_flag}={text}" if not text.startswith("-") else text for text in arguments]
    for flag_name in flag_values:
        # One process may run a command twice (notebook, tests); the second run starts from the defaults again.
        flag_values[flag_name].unparse()
    try:
        rest = flag_values([name, *arguments], known_only=True)
        rest = flags.FLAGS(rest, known_only=True)
    except flags.Error as error:
        # A required flag that seems to be missing is often one that was mistyped; then that is what to say.
        unknown = [
            argument
            for argument in arguments
            if _is_no_flag(argument, flag_values) or argument.startswith(_LONG_DASHES)
        ]
        if not unknown:
            raise UserError(f"{_sentence(error, flag_values)}; see tfod_csf {name} --help.") from error
    else:
        unknown = rest[1:]
    if not unknown:
        _refuse_empty_values(flag_values)
        _refuse_remote_paths(flag_values)
        _refuse_infinite_numbers(name, flag_values)
        return
    if unknown[0].startswith(_LONG_DASHES):
        raise UserError(f"argument {unknown[0]!r} begins with a dash that is not a hyphen; type two hyphens: --.")
    if not unknown[0].startswith("-"):
        raise UserError(f"argument {unknown[0]!r} has no flag before it; see tfod_csf {name} --help.")
    given = unknown[0].lstrip("-").split("=")[0]
    near = difflib.get_close_matches(given, list(flag_values), n=1)
    hint = f"did you mean --{near[0]}?" if near else f"see tfod_csf {name} --help."
    raise UserError(f"there is no flag --{given}; {hint}")


def check_arguments(name: str, arguments: Sequence[str]) -> None:
    """Parses what another command is to be given later, so that a mistake in it is reported now.

    Raises:
      UserError: the command would refuse a flag or value.
    """
    _parse(name, command_reference.command_module(name).FLAGS, list(arguments))


def _refuse_empty_values(flag_values: flags.FlagValues) -> None:
    """An empty value of a flag whose default is not empty is a mistake in a script, such as --manifest="$UNSET"."""
    for name in flag_values:
        flag = flag_values[name]
        values = flag.value if isinstance(flag, flags.MultiFlag) else [flag.value]
        if flag.present and flag.default != "" and flag.name not in _MAY_BE_EMPTY and "" in (values or ()):
            required = {one.name for one in command_reference.flag_references(flag_values) if one.is_required}
            remedy = "give one" if flag.name in required else "give one, or leave the flag out"
            raise UserError(f"--{name}= has no value; {remedy}.")


def _refuse_remote_paths(flag_values: flags.FlagValues) -> None:
    for name in flag_values:
        value = flag_values[name].value
        for text in value if isinstance(value, list) else [value]:
            reason = given_files.remote_path(text) if isinstance(text, str) else ""
            if reason:
                raise UserError(f"--{name}={text}: {reason}.")


def _refuse_infinite_numbers(name: str, flag_values: flags.FlagValues) -> None:
    """absl's bounds let nan through, and a limit of nan limits nothing; no flag has a meaning for infinity."""
    for flag_name in flag_values:
        value = flag_values[flag_name].value
        for number in value if isinstance(value, list) else [value]:
            if isinstance(number, float) and not math.isfinite(number):
                raise UserError(f"--{flag_name}={number}: expected a finite number; see tfod_csf {name} --help.")


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
    main: Callable[[], None],
    flag_values: flags.FlagValues,
    doc: str,
    name: str,
    arguments: list[str] | None = None,
    bare_flag: str = "",
) -> int:
    """Runs one command.

    Args:
      bare_flag: the flag whose values may be given without it (`BARE_FLAG` of a command's module).
      arguments: what follows the command's name; None takes those of the program, which then ends with the status.

    Returns:
      Exit status: 0 when it ended well, 1 after a file that the system refuses, the error's own (mostly 1) after a
      `UserError` (each printed as one sentence), 128 + its number after a signal (130 Ctrl-C, 143 SIGTERM), 141 when
      nobody reads the output any more.
    """
    with stop_signals.StopSignals(ends_process=arguments is None) as stop:
        given = sys.argv[1:] if arguments is None else arguments
        return _guarded(lambda: _run_command(main, flag_values, doc, name, given, bare_flag), f"tfod_csf {name}", stop)


def _run_command(
    main: Callable[[], None],
    flag_values: flags.FlagValues,
    doc: str,
    name: str,
    arguments: list[str],
    bare_flag: str,
) -> None:
    if any(argument in _HELP_FLAGS for argument in arguments):
        print(command_reference.help_text(name, flag_values, doc))
        return
    _parse(name, flag_values, arguments, bare_flag)
    absl_logging.use_absl_handler()
    main()


def _guarded(call: Callable[[], None], speaker: str, stop: stop_signals.StopSignals) -> int:
    """Exit status of a call whose expected ends are one sentence each."""
    try:
        call()
        sys.stdout.flush()
    except BaseException as error:
        ended = _ended(error, stop)
        if ended is None:
            raise
        status, sentence = ended
        _leave_standard_output()
        with contextlib.suppress(OSError):  # the log may be on the disk that is full
            print(f"{speaker}: {sentence}", file=sys.stderr, flush=True)
        return status
    return 0


def _ended(error: BaseException, stop: stop_signals.StopSignals) -> tuple[int, str] | None:
    """Exit status and sentence of what ended a command; None for a fault of the program, which shows a traceback."""
    if stop.number or isinstance(error, KeyboardInterrupt):
        # After a signal any error may be its consequence, for example a worker process that got it too.
        number = getattr(error, "number", 0) or stop.number or signal.SIGINT
        cause = "Ctrl-C" if number == signal.SIGINT else signal.Signals(number).name
        kept = "what was finished is kept and no file is half-written; run the same command again to resume."
        return 128 + number, f"stopped by {cause}; {kept}"
    if isinstance(error, UserError):
        return error.exit_status, f"error: {wording.visible(str(error))}"
    if isinstance(error, BrokenPipeError) and error.filename is None:
        return _BROKEN_PIPE, "stopped, because the program that read its output has ended."
    if isinstance(error, OSError) and error.errno is not None:
        if error.filename is None and error.errno in _OWN_FAULTS:
            return None
        advice = _ADVICE.get(error.errno, "check the path, its rights and the free space")
        return 1, f"error: {error.filename or 'disk or output'}: {os.strerror(error.errno)}; {advice}."
    return None


def _leave_standard_output() -> None:
    """Keeps Python from failing again at its end when standard output is a closed pipe or a file on a full disk."""
    output = sys.stdout
    try:
        output.flush()
    except OSError:
        if output is sys.__stdout__ and output is not None:
            os.dup2(os.open(os.devnull, os.O_WRONLY), output.fileno())


def main(arguments: list[str] | None = None) -> int:
    """The console script; see `run`."""
    with stop_signals.StopSignals(ends_process=arguments is None) as stop:
        if arguments is None:
            arguments = sys.argv[1:]
            logging.raiseExceptions = False  # no traceback for each line that a closed pipe or a full disk refuses
            for stream in (sys.stdout, sys.stderr):
                if isinstance(stream, io.TextIOWrapper):
                    stream.reconfigure(errors="backslashreplace")  # names of files that are no UTF-8
        if not arguments or arguments[0] in (*_HELP_FLAGS, "help", "--version"):
            return _guarded(lambda: _introduce(arguments), "tfod_csf", stop) or int(not arguments)
        typed = arguments[0].removesuffix(".py")
        name = ALIASES.get(typed, typed)
        if name not in command_names():
            return _guarded(lambda: _refuse(typed), "tfod_csf", stop)
        return _guarded(lambda: _run_named(name, typed, arguments[1:]), f"tfod_csf {typed}", stop)


def _introduce(arguments: list[str]) -> None:
    """Prints the version or the list of commands."""
    if arguments and arguments[0] == "--version":
        from tfod_csf import __version__

        print(f"tfod_csf {__version__}")
    else:
        print(command_reference.overview())


def _refuse(typed: str) -> None:
    near = difflib.get_close_matches(typed, [*command_names(), *ALIASES], n=1)
    hint = f"did you mean {near[0]}?" if near else "tfod_csf --help lists the commands."
    raise UserError(f"there is no command {typed!r}; {hint}")


def _run_named(name: str, typed: str, arguments: list[str]) -> None:
    """Runs the command `name`, which the user called `typed`."""
    module = command_reference.command_module(name)
    bare_flag = getattr(module, "BARE_FLAG", "")
    _run_command(module.main, module.FLAGS, module.__doc__ or "", typed, arguments, bare_flag)
