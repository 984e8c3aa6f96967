import subprocess
import sys

import pytest
from absl import flags

from tfod_csf.commands import command_line


def test_overview_lists_every_command_with_a_line():
    run = subprocess.run([sys.executable, "-m", "tfod_csf", "--help"], capture_output=True, text=True, check=True)
    for name in command_line.command_names():
        line = next(line for line in run.stdout.splitlines() if line.startswith(f"  {name} "))
        assert len(line.split(name, 1)[1].strip()) > 10


def test_unknown_command_is_one_sentence_and_status_1(capsys):
    assert command_line.main(["no_such_command"]) == 1
    assert "there is no command 'no_such_command'" in capsys.readouterr().err


@pytest.mark.parametrize("name", command_line.command_names())
def test_help_and_mistyped_flag_load_no_tensorflow(name):
    code = (
        "import sys\n"
        "from tfod_csf.commands import command_line\n"
        f"status = command_line.main([{name!r}, '--help'])\n"
        f"wrong = command_line.main([{name!r}, '--no_such_flag=1'])\n"
        "assert 'tensorflow' not in sys.modules and 'pandas' not in sys.modules\n"
        "assert (status, wrong) == (0, 1)\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert "usage: tfod_csf " + name in run.stdout
    assert "there is no flag --no_such_flag" in run.stderr


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
