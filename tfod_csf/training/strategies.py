"""Which devices train together: all visible GPUs of one machine, its CPU, or several machines."""

import tensorflow as tf

from tfod_csf.training import preflight_checks


def make_strategy(num_workers: int, batch_size: int) -> tf.distribute.Strategy:
    """MirroredStrategy over the visible GPUs (or the CPU); MultiWorkerMirroredStrategy when num_workers > 1.

    Raises:
      TrainingSetupError: the global batch does not divide by the number of replicas.
    """
    # Some operations of the network (non-maximum suppression of several classes) have no GPU kernel.
    tf.config.set_soft_device_placement(True)
    if num_workers > 1:
        strategy = tf.distribute.MultiWorkerMirroredStrategy()
    else:
        strategy = tf.distribute.MirroredStrategy()
    replicas = strategy.num_replicas_in_sync
    preflight_checks.check_batch_divides(batch_size, replicas, describe(strategy))
    return strategy


def describe(strategy: tf.distribute.Strategy) -> str:
    """For example "1 replica: CPU:0"."""
    devices = sorted(device.split("device:")[-1] for device in strategy.extended.worker_devices)
    replicas = strategy.num_replicas_in_sync
    return f"{replicas} replica{'s' if replicas > 1 else ''}: {', '.join(devices)} on each machine"


def is_chief(strategy: tf.distribute.Strategy) -> bool:
    """True for the one worker that writes checkpoints, logs and records."""
    resolver = strategy.cluster_resolver
    if resolver is None or not resolver.task_type:
        return True
    return resolver.task_type == "chief" or (
        resolver.task_type == "worker" and not resolver.task_id and "chief" not in resolver.cluster_spec().jobs
    )


def has_several_workers(strategy: tf.distribute.Strategy) -> bool:
    """True when several machines (processes) train together: they must save and evaluate together, or wait forever."""
    resolver = strategy.cluster_resolver
    return resolver is not None and sum(map(len, resolver.cluster_spec().as_dict().values())) > 1
