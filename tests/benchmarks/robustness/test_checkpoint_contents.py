import pytest

from tfod_csf.benchmarks.robustness import checkpoint_contents


@pytest.mark.slow
def test_equal_variables_have_one_digest_however_often_they_were_saved(tmp_path):
    import tensorflow as tf

    def saved(name, value, slot):
        root = tf.train.Checkpoint(weight=tf.Variable([value, 2.0]), slot=tf.Variable(slot))
        root.save(str(tmp_path / name))
        return tmp_path / root.save(str(tmp_path / name))

    first = checkpoint_contents.digest(saved("a", 1.0, 3.0))
    assert checkpoint_contents.digest(saved("b", 1.0, 3.0)) == first
    assert checkpoint_contents.digest(saved("c", 1.5, 3.0)) != first
    assert checkpoint_contents.digest(saved("d", 1.0, 3.5)) != first
