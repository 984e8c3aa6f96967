"""What a TensorFlow checkpoint holds, without its order and its times."""

import functools
import hashlib
import pathlib


def digest(prefix: pathlib.Path) -> str:
    """sha256 over names, shapes and values of all variables: weights, optimizer slots, step.

    The object graph and the counter of saved checkpoints do not count: they say how often a run was started.
    """
    stat = prefix.with_name(f"{prefix.name}.index").stat()
    return _digest(str(prefix), stat.st_mtime_ns)


@functools.lru_cache(maxsize=1000)
def _digest(prefix: str, changed: int) -> str:
    import tensorflow as tf

    reader = tf.train.load_checkpoint(prefix)
    found = hashlib.sha256()
    for name in sorted(reader.get_variable_to_shape_map()):
        if name == "_CHECKPOINTABLE_OBJECT_GRAPH" or name.startswith("save_counter/"):
            continue
        value = reader.get_tensor(name)
        found.update(f"{name} {value.dtype} {value.shape}\0".encode())
        found.update(value.tobytes())
    return found.hexdigest()
