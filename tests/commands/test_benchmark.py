import pytest

from tfod_csf.commands import command_line


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("--parts=inference,speed", "'speed' is unknown"),
        ("--compute_dtypes=float16", "'float16' is unknown"),
        ("--networks=resnet51", "'resnet51' is not supported"),
        ("--input_size=640", "is not MINxMAX"),
        ("--models=/no/such/model", "/no/such/model"),
        ("--networks= --parts=inference", "nothing to measure"),
    ],
)
def test_a_mistake_is_one_sentence(flag, message, tmp_path, capsys):
    assert command_line.main(["benchmark", f"--output_csv={tmp_path / 'benchmark.csv'}", *flag.split()]) == 1
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not list(tmp_path.iterdir())
