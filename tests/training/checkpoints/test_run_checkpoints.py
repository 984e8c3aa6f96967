"""Which checkpoints a run has by their names, and what of a killed run is removed."""

import tensorflow as tf

from tfod_csf.training.checkpoints import run_checkpoints
from tfod_csf.training.training_record import TrainingRecord


def _save(folder, count):
    checkpoint = tf.train.Checkpoint(value=tf.Variable(1.0))
    manager = tf.train.CheckpointManager(checkpoint, str(folder), max_to_keep=3)
    for _ in range(count):
        manager.save()


def _names(paths):
    return [path.rsplit("/", 1)[1] for path in paths]


def test_latest_is_tensorflows(tmp_path):
    assert run_checkpoints.latest_checkpoint(tmp_path) is None
    _save(tmp_path, 2)
    assert run_checkpoints.latest_checkpoint(tmp_path) == tf.train.latest_checkpoint(str(tmp_path))
    (tmp_path / "ckpt-2.index").unlink()
    assert run_checkpoints.latest_checkpoint(tmp_path) is None


def test_all_newest_first_as_the_state_file_names_them(tmp_path):
    assert run_checkpoints.all_checkpoints(tmp_path / "absent") == []
    _save(tmp_path, 4)
    (tmp_path / "ckpt-9.index").touch()  # of a run that was killed before it was named
    (tmp_path / "ckpt-4.index").unlink()
    assert _names(run_checkpoints.all_checkpoints(tmp_path)) == ["ckpt-4", "ckpt-3", "ckpt-2"]


def test_a_state_file_that_says_nothing_leaves_the_files_themselves(tmp_path):
    _save(tmp_path, 3)
    for damage in (b"", b"\xff\0", b'model_checkpoint_path: "ckpt-'):
        (tmp_path / "checkpoint").write_bytes(damage)
        assert _names(run_checkpoints.all_checkpoints(tmp_path)) == ["ckpt-3", "ckpt-2", "ckpt-1"]
    (tmp_path / "checkpoint").unlink()
    assert run_checkpoints.all_checkpoints(tmp_path) == []  # perhaps a checkpoint to fine-tune from
    (tmp_path / "training.json").touch()
    (tmp_path / "ckpt-10.index").touch()
    assert _names(run_checkpoints.all_checkpoints(tmp_path))[0] == "ckpt-10"


def _touch(folder, *names):
    for name in names:
        (folder / name).touch()


def test_checkpoints_without_the_file_that_names_them(tmp_path):
    assert run_checkpoints.why_not_resumable(tmp_path) == run_checkpoints.why_not_resumable(tmp_path / "absent") == ""
    TrainingRecord(step=3000).save(tmp_path)
    assert run_checkpoints.why_not_resumable(tmp_path) == ""
    _touch(tmp_path, "ckpt-1.index")  # of a run that was killed during its first save
    assert run_checkpoints.why_not_resumable(tmp_path) == ""
    _touch(tmp_path, "ckpt-3.index")
    assert run_checkpoints.why_not_resumable(tmp_path) == (
        "the folder holds ckpt-3, ckpt-1 (training.json: step 3000) but no file checkpoint that names it; restore it "
        'with the line model_checkpoint_path: "ckpt-3"'
    )
    (tmp_path / "training.json").unlink()
    assert run_checkpoints.why_not_resumable(tmp_path).startswith("the folder holds ckpt-3, ckpt-1 but no file checkp")
    (tmp_path / "checkpoint").write_bytes(b"\0\0")  # damaged: what is there counts
    assert run_checkpoints.why_not_resumable(tmp_path) == ""


def test_a_file_that_names_what_was_left_behind(tmp_path):
    run_checkpoints.write_state(tmp_path, ["ckpt-6", "ckpt-7"])
    assert run_checkpoints.why_not_resumable(tmp_path) == (
        "the file checkpoint names ckpt-7, which is missing; the folder holds no checkpoint; restore it"
    )
    _touch(tmp_path, "ckpt-3.index")
    assert run_checkpoints.why_not_resumable(tmp_path) == (
        "the file checkpoint names ckpt-7, which is missing; the folder holds ckpt-3; restore it, or write the line "
        'model_checkpoint_path: "ckpt-3" into it'
    )
    _touch(tmp_path, "ckpt-6.index")  # the one before is used
    assert run_checkpoints.why_not_resumable(tmp_path) == ""


def test_a_folder_of_tensorflow_1_is_not_resumed(tmp_path):
    _touch(tmp_path, "model.ckpt-500.index", "model.ckpt-500.data-00000-of-00001", "model.ckpt-500.meta")
    expected = (
        "the folder holds model.ckpt-500, as TensorFlow 1 writes it, from which no run resumes; convert it into "
        "another folder (convert_checkpoint)"
    )
    assert run_checkpoints.why_not_resumable(tmp_path) == expected
    run_checkpoints.write_state(tmp_path, ["model.ckpt-500"])
    assert run_checkpoints.why_not_resumable(tmp_path) == expected
    run_checkpoints.write_state(tmp_path, ["ckpt-1"])
    _touch(tmp_path, "ckpt-1.index")  # a run that was started beside it
    assert run_checkpoints.why_not_resumable(tmp_path) == ""


def test_a_folder_that_was_moved_holds_what_its_file_names_by_the_old_place(tmp_path):
    _touch(tmp_path, "ckpt-3.index", "ckpt-2.index")
    for old in ("/data/old/run/ckpt-3", "D:/run/ckpt-3"):
        run_checkpoints.write_state(tmp_path, ["/data/old/run/ckpt-2", old])
        assert run_checkpoints.latest_checkpoint(tmp_path) == str(tmp_path / "ckpt-3")
        assert _names(run_checkpoints.all_checkpoints(tmp_path)) == ["ckpt-3", "ckpt-2"]
        assert run_checkpoints.why_not_resumable(tmp_path) == ""


def test_a_written_state_is_tensorflows(tmp_path):
    _save(tmp_path, 3)
    run_checkpoints.write_state(tmp_path, ["ckpt-1", "ckpt-2"])
    assert tf.train.latest_checkpoint(str(tmp_path)) == str(tmp_path / "ckpt-2")
    state = tf.train.get_checkpoint_state(str(tmp_path))
    assert _names(state.all_model_checkpoint_paths) == ["ckpt-1", "ckpt-2"]


def test_only_what_tensorflow_left_unfinished_is_removed(tmp_path):
    unfinished = [
        "ckpt-3_temp/part-00000-of-00001.index",
        "checkpoint.tmp0a1b2c3d4e5f60718293a4b5c6d7e8f9",
        "ckpt-3.index.tempstate1234567890",
        "train/events.out.tfevents.1.host.2.3.v2",
        "eval/test/events.out.tfevents.1.host.2.3.v2",
    ]
    others = ["ckpt-2.index", "my_temp/a", "checkpoint.tmp.notes", "train/notes.txt", "other/events.out.tfevents.1"]
    for name in (*unfinished, *others):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "train" / "events.out.tfevents.2").write_bytes(b"events")
    gone = run_checkpoints.remove_leftovers(tmp_path)
    assert len(gone) == 5
    kept = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    assert kept == {*others, "train/events.out.tfevents.2"}
