"""The one exception family that a command turns into a sentence and exit status 1."""


class UserError(Exception):
    """Something the user gave cannot be used.

    The message is one sentence that names the file, the object, the value, what was expected and what to do.
    Commands print it without a traceback. Packages derive their own error classes from it.

    Attributes:
      exit_status: of a command that it ends.
    """

    exit_status = 1
