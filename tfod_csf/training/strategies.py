"""Which devices train together: all visible GPUs of one machine, its CPU, or several machines."""

import json
import os

import tensorflow as tf

from tfod_csf.training import checks
from tfod_csf.training.checks import TrainingSetupError


def check_tf_config(num_workers: int) -> None:
    """Refuses --num_workers without a TF_CONFIG that lists as many workers."""
    text = os.environ.get("TF_CONFIG", "")
    if num_workers < 1:
        raise TrainingSetupError(f"--num_workers={num_workers}: must be at least 1.")
    if num_workers == 1:
        return
    example = '{"cluster": {"worker": ["host1:port", "host2:port"]}, "task": {"type": "worker", "index": 0}}'
    try:
        cluster = json.loads(text)["cluster"]
        workers = len(cluster.get("worker", [])) + len(cluster.get("chief", []))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise TrainingSetupError(
            f"--num_workers={num_workers} needs the environment variable TF_CONFIG on every machine, such as {example}."
        ) from error
    if workers != num_workers:
        raise TrainingSetupError(
            f"--num_workers={num_workers}, but TF_CONFIG lists {workers} workers; make them equal."
        )


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
    checks.check_batch_divides(batch_size, replicas, describe(strategy))
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
    """True when several machines (processes) train together: they save and evaluate in step, or wait for ever."""
    resolver = strategy.cluster_resolver
    return resolver is not None and sum(map(len, resolver.cluster_spec().as_dict().values())) > 1
