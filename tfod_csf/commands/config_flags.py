"""Flags of the commands that read a pipeline.config; see `common_flags` for those of other commands."""

from typing import TYPE_CHECKING

from absl import flags

from tfod_csf.commands.flag_parsers import JoinedTextFlag
from tfod_csf.model_folder import DEFAULT_THRESHOLDS

if TYPE_CHECKING:
    from tfod_csf.config.protos.pipeline_pb2 import TrainEvalPipelineConfig


def define_pipeline_config_path(flag_values: flags.FlagValues, required: bool = True) -> None:
    """--pipeline_config_path, as TFOD's programs have it."""
    flags.DEFINE_string(
        "pipeline_config_path",
        None,
        "The pipeline.config of the training.",
        required=required,
        flag_values=flag_values,
    )


def define_config_override(flag_values: flags.FlagValues) -> None:
    """--config_override, as TFOD's exporter has it, but that each one given counts."""
    text = (
        'Fields to change, as text of a pipeline.config, for example "train_config { batch_size: 2 }". May be '
        "repeated: the pieces are merged in the order given."
    )
    flag = JoinedTextFlag(flags.ArgumentParser(), flags.ArgumentSerializer(), "config_override", "", text)
    flags.DEFINE_flag(flag, flag_values)


def define_thresholds(flag_values: flags.FlagValues) -> None:
    """--min_score and --unknown_below of a command that writes a model folder."""
    flags.DEFINE_float(
        "min_score",
        DEFAULT_THRESHOLDS["min_score"],
        "Detections with at least this score count as cells; stored in the model folder as default of later commands.",
        lower_bound=0.0,
        upper_bound=1.0,
        flag_values=flag_values,
    )
    flags.DEFINE_float(
        "unknown_below",
        DEFAULT_THRESHOLDS["unknown_below"],
        "Cells with a lower score are called unknown; stored in the model folder as default of later commands.",
        lower_bound=0.0,
        upper_bound=1.0,
        flag_values=flag_values,
    )


def load_config(flag_values: flags.FlagValues) -> "TrainEvalPipelineConfig":
    """The config of --pipeline_config_path with --config_override merged over it.

    Raises:
      UserError: a file or text that is not a pipeline.config.
    """
    from tfod_csf.config import pipeline_config

    return overridden(pipeline_config.load_pipeline_config(flag_values["pipeline_config_path"].value), flag_values)


def overridden(config: "TrainEvalPipelineConfig", flag_values: flags.FlagValues) -> "TrainEvalPipelineConfig":
    """A config with every --config_override merged over it, in the order given.

    Raises:
      UserError: a text that is not part of a pipeline.config.
    """
    from tfod_csf.config import pipeline_config

    text = flag_values["config_override"].value
    return pipeline_config.override(config, text) if text else config
