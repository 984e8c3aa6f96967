"""Flags that several commands have: one text and one check each.

A command calls the `define_...` functions in the order in which its help should list the flags. The others read a flag
after parsing and check what absl cannot; they are for the start of `main` and import nothing heavy.
"""

import math
import pathlib
from collections.abc import Sequence

from absl import flags

from tfod_csf.commands.flag_parsers import ListFlag, ListParser, NumbersParser
from tfod_csf.errors import UserError

_RUN = "Output folder of batch_infer, or of review_import for the cells as people decided."
_RUN_REMEDY = "give the output folder of batch_infer"


def define_list(
    flag_values: flags.FlagValues,
    name: str,
    default: list[str] | None,
    text: str,
    choices: Sequence[str] = (),
    required: bool = False,
) -> None:
    """A list flag; absl's own would silently keep only the last of several, or take the commas for text."""
    flag = ListFlag(ListParser(choices), flags.ArgumentSerializer(), name, default, text)
    flags.DEFINE_flag(flag, flag_values, required=required)


def define_numbers(
    flag_values: flags.FlagValues, name: str, default: list[float] | None, text: str, upper_bound: float = math.inf
) -> None:
    """A list flag of numbers above 0."""
    flag = ListFlag(NumbersParser(upper_bound), flags.ArgumentSerializer(), name, default, text)
    flags.DEFINE_flag(flag, flag_values)


def define_old_name(flag_values: flags.FlagValues, old_name: str, name: str) -> None:
    """Keeps an earlier name of a flag working."""
    flags.DEFINE_alias(old_name, name, flag_values=flag_values)


# Folders.


def existing_folder(flag_values: flags.FlagValues, name: str, remedy: str = "") -> pathlib.Path:
    """The folder a flag names.

    Raises:
      UserError: there is no such folder; ends with `remedy`, what to give instead.
    """
    path = pathlib.Path(flag_values[name].value)
    if not path.is_dir():
        what = "is not a folder" if path.exists() else "no such folder"
        raise UserError(f"--{name}={path}: {what}{f'; {remedy}' if remedy else ''}.")
    return path


def define_inference_dir(flag_values: flags.FlagValues, text: str = _RUN, required: bool = True) -> None:
    """--inference_dir: a run to read."""
    flags.DEFINE_string("inference_dir", None, text, required=required, flag_values=flag_values)


def inference_dir(flag_values: flags.FlagValues) -> pathlib.Path:
    """The run to read.

    Raises:
      UserError: there is no such folder.
    """
    return existing_folder(flag_values, "inference_dir", _RUN_REMEDY)


def define_output_dir(
    flag_values: flags.FlagValues,
    text: str = "Folder to write to; made if absent.",
    default: str | None = None,
    required: bool = True,
) -> None:
    """--output_dir."""
    flags.DEFINE_string("output_dir", default, text, required=required, flag_values=flag_values)


def output_dir(flag_values: flags.FlagValues) -> pathlib.Path:
    """The folder to write to, which need not exist yet.

    Raises:
      UserError: a file is in its place; better said before hours of computing than after.
    """
    path = pathlib.Path(flag_values["output_dir"].value)
    file = next((parent for parent in (path, *path.parents) if parent.is_file()), None)
    if file is not None:
        raise UserError(f"--output_dir={path}: {file} is a file; give a folder.")
    return path


# Whose images.


def define_images_dir(flag_values: flags.FlagValues) -> None:
    """--images_dir, --manifest and --patient_pattern of a command that looks for images itself."""
    flags.DEFINE_string(
        "images_dir",
        None,
        "Folder of images with a subfolder per patient; images directly in it are one patient's. Other arrangements: "
        "--manifest or --patient_pattern.",
        required=True,
        flag_values=flag_values,
    )
    _define_whose(flag_values, "")


def define_run_images_dir(flag_values: flags.FlagValues, whose: bool = False) -> None:
    """--images_dir of a command that reads a run; with `whose` also --manifest and --patient_pattern."""
    flags.DEFINE_string(
        "images_dir",
        None,
        "Folder of the original images; default: the folder that batch_infer read.",
        flag_values=flag_values,
    )
    if whose:
        _define_whose(flag_values, " Default: as batch_infer was told.")


def _define_whose(flag_values: flags.FlagValues, default: str) -> None:
    flags.DEFINE_string(
        "manifest",
        None,
        "CSV with the columns image (path below --images_dir) and patient_id: whose image each one is, whatever its "
        f"folder.{default}",
        flag_values=flag_values,
    )
    flags.DEFINE_string(
        "patient_pattern",
        None,
        "Regular expression with a group (?P<patient>...), searched in each image's path below --images_dir: whose "
        f"image it is, whatever its folder.{default}",
        flag_values=flag_values,
    )


def images_dir_apart_from_output(flag_values: flags.FlagValues) -> tuple[pathlib.Path, pathlib.Path]:
    """(--images_dir, --output_dir); the output need not exist yet.

    Raises:
      UserError: no folder of images; what is written would be read as images by the next run; or a file is in the
        output's place.
    """
    images, output = existing_folder(flag_values, "images_dir", "give the folder of images"), output_dir(flag_values)
    if output.resolve().is_relative_to(images.resolve()):
        raise UserError(
            f"--output_dir={output} lies in --images_dir; its pictures would be read as images; give another folder."
        )
    return images, output


def define_patient(flag_values: flags.FlagValues) -> None:
    """--patient: only some patients of a run."""
    flags.DEFINE_multi_string("patient", [], "Only this patient; repeat for several.", flag_values=flag_values)


# Annotations.


def define_annotations_dir(flag_values: flags.FlagValues) -> None:
    """--annotations_dir of images that the command looks for itself."""
    flags.DEFINE_string(
        "annotations_dir",
        None,
        "Folder of the LabelImg XML; default: the XML lies beside the images.",
        flag_values=flag_values,
    )


def define_run_annotations_dir(flag_values: flags.FlagValues, more: str = "", required: bool = False) -> None:
    """--annotations_dir of a command that compares a run with people."""
    text = f"Folder of LabelImg XML of the images that batch_infer read{more}."
    flags.DEFINE_string("annotations_dir", None, text, required=required, flag_values=flag_values)


def annotations_dir(flag_values: flags.FlagValues) -> pathlib.Path:
    """The folder of XML.

    Raises:
      UserError: there is no such folder.
    """
    return existing_folder(flag_values, "annotations_dir", "give the folder of LabelImg XML")


def define_class_map(flag_values: flags.FlagValues) -> None:
    """--class_map; read it with `class_map`."""
    define_list(
        flag_values,
        "class_map",
        [],
        "Classes of the labels to rename (OLD=NEW) or to drop (OLD=): --class_map=rbc=erythrocyte,platelet= does both.",
    )


def class_map(flag_values: flags.FlagValues) -> dict[str, str]:
    """{old class name: new one, "" to drop}, as `label_map.parse_class_map` makes it.

    Raises:
      LabelMapError: an entry that is not OLD=NEW, or one name mapped in two ways.
    """
    from tfod_csf.label_map import parse_class_map

    return parse_class_map(flag_values["class_map"].value)


def define_rescale_boxes(flag_values: flags.FlagValues) -> None:
    """--rescale_boxes."""
    flags.DEFINE_boolean(
        "rescale_boxes",
        False,
        "Scale the boxes of images that were resized as a whole after they had been annotated.",
        flag_values=flag_values,
    )


def define_exif(flag_values: flags.FlagValues) -> None:
    """--exif."""
    flags.DEFINE_enum(
        "exif",
        "turned",
        ["turned", "stored"],
        "Picture that the boxes of an image with an EXIF orientation were drawn on, where the size in the XML fits "
        "both: turned as EXIF says, or as stored (labeling programs before about autumn 2020).",
        flag_values=flag_values,
    )


def define_ignore_difficult_instances(flag_values: flags.FlagValues) -> None:
    """--ignore_difficult_instances, as TFOD's scripts have it."""
    flags.DEFINE_boolean(
        "ignore_difficult_instances", False, "Skip objects that are marked as difficult.", flag_values=flag_values
    )


def define_matching_iou_threshold(flag_values: flags.FlagValues, old_name: str = "") -> None:
    """--matching_iou_threshold, TFOD's name; `old_name` keeps working."""
    flags.DEFINE_float(
        "matching_iou_threshold",
        0.5,
        "Two boxes with at least this IoU (intersection over union) are the same cell.",
        lower_bound=0.05,
        upper_bound=1.0,
        flag_values=flag_values,
    )
    if old_name:
        define_old_name(flag_values, old_name, "matching_iou_threshold")


# Models and cells.


def model_help(which: str) -> str:
    """What --model says of a command that runs a model.

    Args:
      which: what the folder is, with a capital, without a full stop.
    """
    return f"{which}; or the name of a model that ships with this package (tfod_csf models). A path that exists wins."


def define_exported_model(flag_values: flags.FlagValues) -> None:
    """--model of a command that runs one model."""
    text = model_help("Exported model folder, written by exporter_main_v2")
    flags.DEFINE_string("model", None, text, required=True, flag_values=flag_values)


def define_model_name(
    flag_values: flags.FlagValues, default: str = "the first", shown: str = "whose cells are used"
) -> None:
    """--model of a command that reads a run: one model of several, by name.

    Args:
      default: which models without the flag.
      shown: what is taken of the model.
    """
    flags.DEFINE_string(
        "model",
        None,
        f"Name of the model {shown}, when several models made the run; default: {default}.",
        flag_values=flag_values,
    )


def define_needed_model_name(flag_values: flags.FlagValues) -> None:
    """--model of a command that does not choose among several models by itself."""
    flags.DEFINE_string(
        "model",
        None,
        "Name of the model whose cells are used; needed when several models made the run.",
        flag_values=flag_values,
    )


def define_min_score(flag_values: flags.FlagValues, default: str) -> None:
    """--min_score with a default that is found elsewhere."""
    flags.DEFINE_float(
        "min_score",
        None,
        f"Detections with at least this score (before a temperature: raw_score) count as cells; default: {default}.",
        flag_values=flag_values,
    )


def define_unknown_below(flag_values: flags.FlagValues, default: str) -> None:
    """--unknown_below with a default that is found elsewhere."""
    flags.DEFINE_float(
        "unknown_below",
        None,
        f"Cells with a lower score are called unknown; default: {default}.",
        flag_values=flag_values,
    )


def define_count_unknown(flag_values: flags.FlagValues, default: str | None) -> None:
    """--count_unknown; without a default, the run's."""
    flags.DEFINE_enum(
        "count_unknown",
        default,
        ["apart", "as_predicted"],
        "Whether unknown cells are counted separately or under their predicted class"
        + ("." if default else "; default: as in the run."),
        flag_values=flag_values,
    )


def define_tolerance_points(flag_values: flags.FlagValues) -> None:
    """--tolerance_points: when cells are enough."""
    flags.DEFINE_float(
        "tolerance_points",
        10.0,
        "Cells are enough when no 95 % interval reaches farther than this many percentage points from its percentage.",
        lower_bound=0.1,
        upper_bound=50,
        flag_values=flag_values,
    )


def define_max_unknown_percent(flag_values: flags.FlagValues) -> None:
    """--max_unknown_percent: when unknown cells forbid relying on percentages."""
    flags.DEFINE_float(
        "max_unknown_percent",
        10.0,
        "Percentages are not to be relied on, and cells are never called enough, when more than this percentage of the "
        "white cells (unknown ones that may be white included) is unknown.",
        lower_bound=0,
        upper_bound=100,
        flag_values=flag_values,
    )


def define_replicates(flag_values: flags.FlagValues) -> None:
    """--replicates of the saturation of cells."""
    flags.DEFINE_integer(
        "replicates",
        1000,
        "Random orders of the images, and bootstrap samples, behind the saturation of each patient.",
        lower_bound=100,
        flag_values=flag_values,
    )


def define_num_processes(flag_values: flags.FlagValues) -> None:
    """--num_processes of commands that work patient by patient."""
    flags.DEFINE_integer(
        "num_processes",
        None,
        "Processes that work on the patients; default: one per core. The files do not depend on it.",
        lower_bound=1,
        flag_values=flag_values,
    )


def num_processes(flag_values: flags.FlagValues) -> int:
    """What --num_processes says."""
    from tfod_csf import worker_pool

    return flag_values.num_processes or worker_pool.available_cores()


def define_extra_class(flag_values: flags.FlagValues) -> None:
    """--extra_class: names beside the model's classes."""
    define_list(
        flag_values,
        "extra_class",
        [],
        "Class that may occur in the review besides those of the model, for example eosinophil.",
    )


def extra_names(flag_values: flags.FlagValues) -> list[str]:
    """Names of --extra_class with single blanks."""
    return [" ".join(name.split()) for name in flag_values["extra_class"].value]


# Problems.


def define_problem_limits(flag_values: flags.FlagValues) -> None:
    """--strict and --max_skipped_fraction."""
    define_strict(flag_values)
    flags.DEFINE_float(
        "max_skipped_fraction",
        0.1,
        "End with an error when more than this share of the files was skipped.",
        lower_bound=0.0,
        upper_bound=1.0,
        flag_values=flag_values,
    )


def define_trust(flag_values: flags.FlagValues) -> None:
    """--trust."""
    flags.DEFINE_boolean(
        "trust",
        False,
        "Open a model folder although its files do not match its SHA256SUMS, or its SavedModel holds operations that "
        "can reach files, the network or Python. A model is a program that runs with your rights: only if you know who "
        "made it.",
        flag_values=flag_values,
    )


def define_strict(flag_values: flags.FlagValues) -> None:
    """--strict."""
    flags.DEFINE_boolean(
        "strict",
        False,
        "Stop with an error at the first file or object that is skipped or repaired.",
        flag_values=flag_values,
    )
