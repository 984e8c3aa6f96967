"""Flags of several commands: one grammar, one text, one check."""

import collections

import pytest
from absl import flags

from tfod_csf.commands import command_reference, common_flags
from tfod_csf.commands.flag_parsers import ListFlag
from tfod_csf.errors import UserError
from tfod_csf.label_map import LabelMapError

COMMANDS = {command.name: command for command in command_reference.commands()}


def flag_values_of(name, arguments):
    """A command's flags after parsing, its required ones given."""
    flag_values = command_reference.command_module(name).FLAGS
    for flag_name in flag_values:
        flag_values[flag_name].unparse()
    required = [f"--{flag.name}=given" for flag in COMMANDS[name].flags if flag.is_required]
    flag_values([name, *required, *arguments])
    return flag_values


def commands_with(flag_name):
    return [command.name for command in COMMANDS.values() if flag_name in {flag.name for flag in command.flags}]


def test_ten_commands_have_a_class_map():
    assert sorted(commands_with("class_map")) == [
        "agreement",
        "calibrate",
        "create_csf_tf_record",
        "cross_validate",
        "evaluate",
        "find_label_problems",
        "generate_tfrecord",
        "observers",
        "review_import",
        "suggest_labels",
    ]


@pytest.mark.parametrize("name", commands_with("class_map"))
@pytest.mark.parametrize(
    "arguments",
    [
        ["--class_map=rbc=erythrocyte,platelet=", "--class_map=a=b"],
        ["--class_map=rbc=erythrocyte", "--class_map=platelet=", "--class_map=a=b"],
        ["--class_map=rbc=erythrocyte, platelet= ,a=b"],
        ["--class_map", "rbc=erythrocyte", "--class_map", "platelet=,a=b"],
    ],
)
def test_class_map_takes_commas_and_repeats(name, arguments):
    flag_values = flag_values_of(name, arguments)
    assert flag_values.class_map == ["rbc=erythrocyte", "platelet=", "a=b"]
    assert common_flags.class_map(flag_values) == {"rbc": "erythrocyte", "platelet": "", "a": "b"}


@pytest.mark.parametrize("name", commands_with("class_map"))
def test_class_map_may_be_empty_and_starts_empty_again(name):
    assert flag_values_of(name, ["--class_map=a=b"]).class_map == ["a=b"]
    assert flag_values_of(name, ["--class_map="]).class_map == []
    assert flag_values_of(name, []).class_map == []
    assert common_flags.class_map(flag_values_of(name, [])) == {}


def test_class_map_refuses_what_is_no_mapping():
    with pytest.raises(LabelMapError, match="'platelet' is not OLD=NEW"):
        common_flags.class_map(flag_values_of("agreement", ["--class_map=rbc=erythrocyte,platelet"]))


@pytest.mark.parametrize(
    ("name", "flag"), [("export_detections", "formats"), ("benchmark", "parts"), ("benchmark", "compute_dtypes")]
)
def test_lists_of_known_words_take_commas_and_repeats_and_refuse_others(name, flag):
    first, second, *_ = next(entry for entry in COMMANDS[name].flags if entry.name == flag).default.split(",")
    assert flag_values_of(name, [f"--{flag}={first},{second}"])[flag].value == [first, second]
    assert flag_values_of(name, [f"--{flag}={first}", f"--{flag}={second}"])[flag].value == [first, second]
    with pytest.raises(flags.IllegalFlagValueError, match=f"'other' is unknown; use some of {first},{second}"):
        flag_values_of(name, [f"--{flag}={first},other"])


def test_lists_of_numbers():
    assert flag_values_of("saturation", []).plan_points == [10, 7, 5, 3]
    assert flag_values_of("saturation", ["--plan_points=8,2.5", "--plan_points=1"]).plan_points == [8, 2.5, 1]
    assert flag_values_of("generate_pipeline_config", ["--anchor_scales=0.1, 0.2"]).anchor_scales == [0.1, 0.2]
    for wrong in ("0", "51", "-1", "nan", "x", "5,,3"):
        with pytest.raises(flags.IllegalFlagValueError, match="is not a number above 0 and up to 50"):
            flag_values_of("saturation", [f"--plan_points={wrong}"])


@pytest.mark.parametrize("name", ["agreement", "calibrate", "observers", "review_import"])
def test_iou_is_an_old_name_of_matching_iou_threshold(name):
    assert flag_values_of(name, []).matching_iou_threshold == 0.5
    assert flag_values_of(name, ["--iou=0.3"]).matching_iou_threshold == 0.3
    assert flag_values_of(name, []).matching_iou_threshold == 0.5
    with pytest.raises(flags.IllegalFlagValueError, match="matching_iou_threshold"):
        flag_values_of(name, ["--iou=2"])
    heading = next(flag.heading for flag in COMMANDS[name].flags if flag.name == "matching_iou_threshold")
    assert heading == "--matching_iou_threshold (default: 0.5, old name: --iou)"


def test_a_flag_means_the_same_in_every_command():
    """Of those that mean one thing everywhere; --seed or --model have a text of their own in each command."""
    texts = collections.defaultdict(set)
    for command in COMMANDS.values():
        for flag in command.flags:
            texts[flag.name].add(flag.text)
    one_thing = ["class_map", "extra_class", "strict", "max_skipped_fraction", "matching_iou_threshold", "patient"]
    one_thing += ["tolerance_points", "replicates", "population", "patient_table", "reference_ranges"]
    one_thing += ["rescale_boxes", "ignore_difficult_instances", "config_override", "pipeline_config_path"]
    assert {name: len(texts[name]) for name in one_thing} == dict.fromkeys(one_thing, 1)


def test_a_list_that_is_given_twice_keeps_both_parts_in_every_command():
    lists = {
        f"{name} --{flag_name}": flag_values[flag_name]
        for name in COMMANDS
        for flag_values in [command_reference.command_module(name).FLAGS]
        for flag_name in flag_values
        if isinstance(flag_values[flag_name].parser, flags.ListParser)
    }
    assert "describe_domain --input_path" in lists
    assert [where for where, flag in lists.items() if not isinstance(flag, ListFlag)] == []


@pytest.mark.parametrize(
    ("name", "flag"),
    [(command.name, "inference_dir") for command in COMMANDS.values() if "inference_dir" in str(command.flags)],
)
def test_a_wrong_inference_dir_is_the_same_sentence_everywhere(name, flag, tmp_path):
    flag_values = flag_values_of(name, [f"--{flag}={tmp_path / 'none'}"])
    with pytest.raises(UserError) as error:
        common_flags.inference_dir(flag_values)
    assert str(error.value) == (
        f"--inference_dir={tmp_path / 'none'}: no such folder; give the output folder of batch_infer."
    )


def test_folders(tmp_path):
    (tmp_path / "file").write_text("")
    flag_values = flag_values_of(
        "batch_infer", [f"--images_dir={tmp_path}", f"--output_dir={tmp_path / 'file' / 'out'}"]
    )
    with pytest.raises(UserError, match=r"--output_dir=.*: .*file is a file; give a folder"):
        common_flags.output_dir(flag_values)
    flag_values = flag_values_of("batch_infer", [f"--images_dir={tmp_path}", f"--output_dir={tmp_path / 'out'}"])
    assert common_flags.output_dir(flag_values) == tmp_path / "out"
    with pytest.raises(UserError, match="lies in --images_dir"):
        common_flags.images_dir_apart_from_output(flag_values)
    flag_values = flag_values_of("batch_infer", [f"--images_dir={tmp_path / 'file'}", f"--output_dir={tmp_path}"])
    with pytest.raises(UserError, match=r"--images_dir=.*file: is not a folder"):
        common_flags.existing_folder(flag_values, "images_dir")
