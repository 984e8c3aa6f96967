"""pipeline.config: TFOD's text format of TrainEvalPipelineConfig, read, overridden and written.

Only the schema is checked here (names, types); `supported.py` decides which fields and values this package acts on.
"""

import difflib
import os
import pathlib
import re

from absl import logging
from google.protobuf import text_format
from google.protobuf.descriptor import Descriptor
from google.protobuf.message import Message

from tfod_csf.config.protos import pipeline_pb2
from tfod_csf.errors import UserError
from tfod_csf.files import atomic_write, given_files

# Members of DetectionModel that TFOD has and this package's schema does not.
_OTHER_META_ARCHITECTURES = ("ssd", "center_net", "experimental_model")
_NO_SUCH_FIELD = re.compile(r'Message type "(?P<message>[\w.]+)" has no field named "(?P<field>\w+)"')
_POSITION = re.compile(r"^(?P<line>\d+):(?P<column>\d+) : (?:'.*?': )?(?P<what>.*)$", re.DOTALL)
_TWICE = re.compile(r"should not have multiple|is specified along with field")
_PACKAGE = "tfod_csf.protos."
_MAX_BYTES = 1_000_000  # TFOD's configs have a few kilobytes
_BACKSLASH_HINT = "write / or \\\\ in Windows paths."
_CONTROL_CHARACTER = re.compile(r"[\x00-\x1f\x7f]")


class ConfigError(UserError):
    """A pipeline.config that cannot be read, written or used."""


def load_pipeline_config(path: str | os.PathLike) -> pipeline_pb2.TrainEvalPipelineConfig:
    """Reads a pipeline.config.

    As in TFOD a field that is written twice has its last value; a warning names it.

    Raises:
      ConfigError: naming file, line and field.
    """
    path = pathlib.Path(path)
    try:
        text = given_files.read_text(path, _MAX_BYTES)
    except FileNotFoundError as error:
        raise ConfigError(f"{path}: there is no such file; --pipeline_config_path wants a pipeline.config.") from error
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}).") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: is not UTF-8 text (byte {error.start}); save it as UTF-8.") from error
    config = pipeline_pb2.TrainEvalPipelineConfig()
    _merge(text, config, str(path))
    _warn_of_fields_written_twice(text, str(path))
    return config


def override(config: pipeline_pb2.TrainEvalPipelineConfig, text: str) -> pipeline_pb2.TrainEvalPipelineConfig:
    """The config with a piece of config text merged over it, as TFOD's --config_override does.

    Scalars are replaced, messages are merged, values of repeated fields (scales, data_augmentation_options,
    eval_input_reader) are appended. The given config is left as it was.
    """
    result = pipeline_pb2.TrainEvalPipelineConfig()
    result.CopyFrom(config)
    _merge(text, result, "--config_override")
    return result


def save_pipeline_config(config: pipeline_pb2.TrainEvalPipelineConfig, path: str | os.PathLike) -> None:
    """Writes the config as text that TFOD reads too; the file appears whole or not at all."""
    atomic_write.write_text(path, config_text(config))


def config_text(config: pipeline_pb2.TrainEvalPipelineConfig) -> str:
    """The config as text, only the fields that are set, in the schema's order."""
    return text_format.MessageToString(config, as_utf8=True)


def _merge(text: str, config: pipeline_pb2.TrainEvalPipelineConfig, source: str) -> None:
    try:
        text_format.Merge(text, config)
    except text_format.ParseError as error:
        raise ConfigError(f"{source}{_explain(str(error), config.DESCRIPTOR)}") from error
    path = _path_with_control_character(config, "")
    if path:
        raise ConfigError(
            f"{source}: {path} holds a control character, which is what a single backslash makes (\\t is a tab); "
            f"{_BACKSLASH_HINT}"
        )


def _warn_of_fields_written_twice(text: str, source: str) -> None:
    try:
        text_format.Parse(text, pipeline_pb2.TrainEvalPipelineConfig())
    except text_format.ParseError as error:
        if _TWICE.search(str(error)):
            message = _explain(str(error), pipeline_pb2.TrainEvalPipelineConfig.DESCRIPTOR)
            logging.warning("%s%s The last one counts.", source, message)


def _explain(message: str, root: Descriptor) -> str:
    """'1:3 : what' of the protobuf parser as ' line 1, column 3: what', with the nearest field's name."""
    position = _POSITION.match(message)
    where = f", line {position['line']}, column {position['column']}: " if position else ": "
    what = (position["what"] if position else message).strip().rstrip(".")
    unknown = _NO_SUCH_FIELD.search(what)
    if "escape" in what:
        return f"{where}a backslash in a text starts an escape sequence; {_BACKSLASH_HINT}"
    if not unknown:
        return f"{where}{what.replace(_PACKAGE, '')}."
    name, field = unknown["message"].rsplit(".", 1)[-1], unknown["field"]
    if name == "DetectionModel" and field in _OTHER_META_ARCHITECTURES:
        return f"{where}model.{field} is not supported; the model here is model.faster_rcnn."
    fields = _field_names(root, unknown["message"])
    near = difflib.get_close_matches(field, fields, n=1)
    hint = f"did you mean {near[0]}?" if near else f"its fields are {', '.join(fields)}."
    return f"{where}{name} has no field {field}; {hint}"


def _field_names(root: Descriptor, full_name: str) -> list[str]:
    """Fields of the message type called `full_name` that can be reached from `root`."""
    seen, waiting = set(), [root]
    while waiting:
        message = waiting.pop()
        if message.full_name == full_name:
            return [field.name for field in message.fields]
        if message.full_name not in seen:
            seen.add(message.full_name)
            waiting += [field.message_type for field in message.fields if field.message_type]
    return []


def _path_with_control_character(message: Message, prefix: str) -> str | None:
    """Dotted path of the first string field that holds a control character."""
    for field, value in message.ListFields():
        for item in value if field.is_repeated else [value]:
            path = f"{prefix}{field.name}"
            if field.type == field.TYPE_MESSAGE:
                found = _path_with_control_character(item, f"{path}.")
                if found:
                    return found
            elif field.type == field.TYPE_STRING and _CONTROL_CHARACTER.search(item):
                return path
    return None
