import contextlib
import errno
import io
import json
import os
import subprocess
import sys

import pytest
from absl import flags

from tfod_csf.commands import command_line, command_reference
from tfod_csf.errors import UserError

NAMES = [*command_line.command_names(), *command_reference.ALIASES]

# Every command's help and what it answers to a mistyped flag, from one process that has loaded nothing else.
_ALL_HELPS = """
import contextlib, io, json, sys
from tfod_csf.commands import command_line
answers = {}
for name in sys.argv[1:]:
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        statuses = [command_line.main([name, "--help"]), command_line.main([name, "--no_such_flag=1"])]
    answers[name] = {"statuses": statuses, "out": out.getvalue(), "err": err.getvalue()}
print(json.dumps({"answers": answers, "modules": sorted(sys.modules)}))
"""


@pytest.fixture(scope="module")
def all_helps():
    run = subprocess.run([sys.executable, "-c", _ALL_HELPS, *NAMES], capture_output=True, text=True, check=True)
    return json.loads(run.stdout)


def run_quietly(arguments):
    """(status, what was printed) of a command line in this process."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
        status = command_line.main(arguments)
    return status, out.getvalue()


def test_help_and_mistyped_flag_load_no_heavy_library(all_helps):
    assert not {"tensorflow", "pandas", "matplotlib", "tf_keras", "official"} & set(all_helps["modules"])
    assert "tfod_csf.commands.batch_infer" in all_helps["modules"]


@pytest.mark.parametrize("name", NAMES)
def test_help_and_mistyped_flag(all_helps, name):
    answer = all_helps["answers"][name]
    assert answer["statuses"] == [0, 1]
    assert answer["out"].startswith(f"usage: tfod_csf {name} ")
    assert answer["err"] == (f"tfod_csf {name}: error: there is no flag --no_such_flag; see tfod_csf {name} --help.\n")


def test_help_of_a_process_of_its_own_takes_less_than_a_second():
    """Of processor time, which is what a person waits for when nothing else runs."""
    before = os.times()
    run = subprocess.run(
        [sys.executable, "-m", "tfod_csf", "batch_infer", "--help"], capture_output=True, text=True, check=True
    )
    after = os.times()
    assert after.children_user + after.children_system - before.children_user - before.children_system < 1
    assert run.stdout.startswith("usage: tfod_csf batch_infer ")


def test_overview_of_a_process_of_its_own():
    run = subprocess.run([sys.executable, "-m", "tfod_csf", "--help"], capture_output=True, text=True, check=True)
    assert run.stdout.rstrip("\n") == command_reference.overview()


def test_no_command_prints_the_overview_and_is_an_error(capsys):
    assert command_line.main([]) == 1
    assert capsys.readouterr().out.rstrip("\n") == command_reference.overview()


@pytest.mark.parametrize(
    ("typed", "hint"),
    [
        ("no_such_command", "tfod_csf --help lists the commands."),
        ("batch_inferr", "did you mean batch_infer?"),
        ("trian", "did you mean train?"),
        ("Observers.py", "did you mean observers?"),
    ],
)
def test_unknown_command_is_one_sentence_and_status_1(capsys, typed, hint):
    assert command_line.main([typed]) == 1
    name = typed.removesuffix(".py")
    assert capsys.readouterr().err == f"tfod_csf: error: there is no command {name!r}; {hint}\n"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["train"], "--pipeline_config_path and --model_dir are required; see tfod_csf train --help."),
        (["infer"], "--images_dir, --model and --output_dir are required; see tfod_csf infer --help."),
        (["blind", "--images_dir=a", "--output_dir=b"], "--key_file is required; see tfod_csf blind --help."),
        (["infer", "--images_dri=a"], "there is no flag --images_dri; did you mean --images_dir?"),
        (["infer", "--rounds=two"], "--rounds=two: expected a whole number; see tfod_csf infer --help."),
        (["infer", "--min_score=half"], "--min_score=half: expected a number; see tfod_csf infer --help."),
        (["infer", "--draw=often"], "--draw=often: expected true or false; see tfod_csf infer --help."),
        (
            ["report", "--pages=one"],
            "--pages=one: value should be one of <all|patients|cohort>; see tfod_csf report --help.",
        ),
        (["synthesize", "--output_dir=a", "b"], "argument 'b' has no flag before it; see tfod_csf synthesize --help."),
    ],
)
def test_mistyped_flags_are_one_sentence(arguments, sentence):
    assert run_quietly(arguments) == (1, f"tfod_csf {arguments[0]}: error: {sentence}\n")


@pytest.mark.parametrize(
    ("empty", "remedy"),
    [
        ("--manifest=", "give one, or leave the flag out"),
        ("--tile_size=", "give one, or leave the flag out"),
        ("--model=", "give one"),
        ("--images_dir=", "give one"),
    ],
)
def test_a_flag_without_a_value_is_refused(empty, remedy):
    given = ["--model=csf_small", "--images_dir=a", "--output_dir=b", empty]
    with pytest.raises(UserError, match=rf"^{empty} has no value; {remedy}\.$"):
        command_line.check_arguments("batch_infer", given)


@pytest.mark.parametrize(
    ("command", "flag", "value"),
    [
        ("batch_infer", "max_skipped_fraction", "nan"),
        ("differential", "max_unknown_percent", "NaN"),
        ("differential", "high_from_per_ul", "inf"),
        ("evaluate", "matching_iou_threshold", "nan"),
        ("create_csf_tf_record", "test_fraction", "-inf"),
        ("generate_pipeline_config", "anchor_scales", "0.5,inf"),
    ],
)
def test_a_number_that_is_not_finite_is_refused(command, flag, value):
    # absl compares with both bounds, and nan is neither below nor above one.
    required = [
        f"--{one.name}=a"
        for one in command_reference.flag_references(command_reference.command_module(command).FLAGS)
        if one.is_required
    ]
    number = value.lower().rpartition(",")[2]
    with pytest.raises(UserError, match=rf"^--{flag}={number}: expected a finite number; see tfod_csf {command}"):
        command_line.check_arguments(command, [*required, f"--{flag}={value}"])


def test_values_that_may_be_empty():
    given = ["--output_path=a", "--fine_tune_checkpoint=", "--config_override="]
    command_line.check_arguments("generate_pipeline_config", given)
    command_line.check_arguments("create_csf_tf_record", ["--images_dir=a", "--class_map="])


def test_a_path_the_system_refuses_is_one_sentence(tmp_path, capsys):
    (tmp_path / "file").write_text("")

    def main():
        (tmp_path / "file" / "below").mkdir()

    assert command_line.run(main, flags.FlagValues(), "", "any", []) == 1
    error = capsys.readouterr().err
    assert f"tfod_csf any: error: {tmp_path / 'file' / 'below'}: Not a directory; check" in error

    def broken():
        raise OSError("no path")

    with pytest.raises(OSError, match="no path"):
        command_line.run(broken, flags.FlagValues(), "", "any", [])


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.ESTALE, errno.EMFILE, errno.EDQUOT, errno.EROFS])
def test_an_error_of_the_disk_that_names_no_file_is_one_sentence(capsys, number):
    def main():
        raise OSError(number, os.strerror(number))

    assert command_line.run(main, flags.FlagValues(), "", "any", []) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"tfod_csf any: error: disk or output: {os.strerror(number)}; ")
    assert error.count("\n") == 1


def test_a_fault_of_the_program_keeps_its_traceback():
    def main():
        os.close(987654)

    with pytest.raises(OSError, match="Bad file descriptor"):
        command_line.run(main, flags.FlagValues(), "", "any", [])


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no such device")
def test_output_that_nobody_reads_or_that_finds_no_room_is_one_sentence():
    command = [sys.executable, "-m", "tfod_csf", "batch_infer", "--help"]
    with open("/dev/full", "w", encoding="utf-8") as full:
        run = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True)
    assert run.returncode == 1
    assert run.stderr == (
        "tfod_csf batch_infer: error: disk or output: No space left on device; make room and run the same command "
        "again.\n"
    )
    read, write = os.pipe()
    os.close(read)
    run = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, text=True)
    os.close(write)
    assert run.returncode == 141
    assert run.stderr == "tfod_csf batch_infer: stopped, because the program that read its output has ended.\n"


def test_a_name_that_is_no_utf8_can_be_printed():
    code = (
        "import sys\nfrom tfod_csf.commands import command_line\n"
        "command_line._introduce = lambda arguments: print('\\udcff.jpg')\nsys.argv = ['tfod_csf', '--help']\n"
        "sys.exit(command_line.main())\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (run.returncode, run.stdout, run.stderr) == (0, "\\udcff.jpg\n", "")


def test_two_hyphens_before_the_flags_are_ignored(tmp_path):
    config = f"--pipeline_config_path={tmp_path}/none.config"
    expected = run_quietly(["model_main_tf2", config, "--model_dir=m"])
    assert "there is no such file" in expected[1]
    for arguments in (
        ["--", config, "--model_dir=m"],
        [config, "--", "--model_dir=m"],
        [config, "--model_dir=m", "--"],
    ):
        assert run_quietly(["model_main_tf2", *arguments]) == expected


@pytest.mark.parametrize(
    ("command", "flag"),
    [
        ("model_main_tf2", "--model_dir=gs://bucket/run"),
        ("model_main_tf2", "--pipeline_config_path=s3://bucket/pipeline.config"),
        ("evaluate", "--input_path=hdfs://host/test.record"),
        ("batch_infer", "--model=https://host/model"),
    ],
)
def test_paths_that_are_not_local_are_refused_before_anything_is_made(command, flag, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    others = {
        "model_main_tf2": ["--pipeline_config_path=p", "--model_dir=m"],
        "evaluate": ["--model=m", "--output_dir=o"],
        "batch_infer": ["--images_dir=i", "--output_dir=o"],
    }
    status, said = run_quietly([command, *others[command], flag])
    assert status == 1
    scheme = flag.partition("=")[2].partition("://")[0]
    assert f"{flag}: is not a local path: {scheme}:// is not supported; give a local file or folder" in said
    assert not list(tmp_path.iterdir())


def test_a_dash_of_a_word_processor_is_named():
    for arguments in (
        ["--inference_dir=a", "--output_dir=b", "\u2013min_score=0.5"],
        ["\u2013inference_dir=a", "\u2013output_dir=b"],  # both are required, and are there
        ["\u2014inference_dir", "a", "--output_dir=b"],
    ):
        status, said = run_quietly(["differential", *arguments])
        assert status == 1
        assert "begins with a dash that is not a hyphen" in said
