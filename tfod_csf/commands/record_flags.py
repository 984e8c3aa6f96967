"""Flags of the commands that make records of a folder of labeled images; see `common_flags` for those of others."""

from absl import flags

from tfod_csf.commands import common_flags


def define_labels(flag_values: flags.FlagValues) -> None:
    """What becomes of the objects in the XML: --label_map_path, --class_map, --other_objects and others."""
    flags.DEFINE_string(
        "label_map_path",
        None,
        "Label map (.pbtxt); default: lymphocyte, monocyte, neutrophil, erythrocyte.",
        flag_values=flag_values,
    )
    common_flags.define_class_map(flag_values)
    flags.DEFINE_enum(
        "other_objects",
        "pass_over",
        ["pass_over", "background"],
        "What to do with objects named unknown, or by a name that is not in the label map. pass_over: training counts "
        "them neither as a class nor as background, and evaluation ignores them; background: they are not written, so "
        "training takes them for background.",
        flag_values=flag_values,
    )
    common_flags.define_ignore_difficult_instances(flag_values)
    common_flags.define_rescale_boxes(flag_values)
    common_flags.define_exif(flag_values)


def define_keep_together(flag_values: flags.FlagValues) -> None:
    """--keep_together."""
    flags.DEFINE_string(
        "keep_together",
        None,
        "CSV of images that must be on the same side, for overlapping photographs: columns group,image (one image per "
        "row) or image_1,image_2 (one group per row). With --split_by=patient their patients are kept together.",
        flag_values=flag_values,
    )


def define_num_processes(flag_values: flags.FlagValues) -> None:
    """--num_processes."""
    flags.DEFINE_integer(
        "num_processes", 0, "Processes that read images; 0: one per core.", lower_bound=0, flag_values=flag_values
    )


def define_data_page(flag_values: flags.FlagValues) -> None:
    """--data_page."""
    flags.DEFINE_bool(
        "data_page",
        True,
        "Write the page to look at before training; every image is decoded once more.",
        flag_values=flag_values,
    )


def define_laboratory_pattern(flag_values: flags.FlagValues) -> None:
    """--laboratory_pattern."""
    flags.DEFINE_string(
        "laboratory_pattern",
        "",
        "Regular expression with a group (?P<laboratory>...), searched in each image's path: whose stain and "
        "microscope it shows.",
        flag_values=flag_values,
    )
