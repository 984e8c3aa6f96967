"""Which devices train together: all visible GPUs of one machine, its CPU, or several machines, and how these agree.

Several machines (workers, one process each) take every step together. They also have to save, evaluate, stop and fail
together: one that leaves alone makes the others wait in their next step. `Workers` is how they agree, and TensorFlow's
coordination service ends the wait for a worker that is gone.
"""

import contextlib
import json
import re
import socket
from collections.abc import Iterator, Sequence
from typing import Any

import tensorflow as tf
from tensorflow.compiler.xla.tsl.protobuf import coordination_config_pb2
from tensorflow.python.distribute import multi_worker_util
from tensorflow.python.eager import context

from tfod_csf.errors import UserError
from tfod_csf.training import preflight_checks

_GONE = (tf.errors.UnavailableError, tf.errors.AbortedError, tf.errors.DeadlineExceededError, tf.errors.CancelledError)
_SHUTDOWN_SECONDS = 10.0
_CHIEF_TIMEOUT_MS = 600_000  # it checks the newest checkpoints, byte by byte


class WorkerLostError(UserError):
    """Another worker has ended or cannot be reached; all of them have to start again."""

    exit_status = 75  # EX_TEMPFAIL of sysexits.h: to try again is the right answer


def make_strategy(
    num_workers: int, batch_size: int, start_timeout: float = 600.0, worker_timeout: float = 60.0
) -> tf.distribute.Strategy:
    """MirroredStrategy over the visible GPUs (or the CPU); MultiWorkerMirroredStrategy when num_workers > 1.

    Args:
      num_workers: how many TF_CONFIG lists.
      batch_size: of all replicas together.
      start_timeout: seconds to wait at the start until all workers are there.
      worker_timeout: seconds without a sign of life after which a worker counts as gone.

    Raises:
      TrainingSetupError: the global batch does not divide by the number of replicas, or this worker's port is in use.
      WorkerLostError: not all workers came.
    """
    # Some operations of the network (non-maximum suppression of several classes) have no GPU kernel.
    tf.config.set_soft_device_placement(True)
    if num_workers > 1:
        strategy = _join_workers(start_timeout, worker_timeout)
    else:
        strategy = tf.distribute.MirroredStrategy()
    replicas = strategy.num_replicas_in_sync
    preflight_checks.check_batch_divides(batch_size, replicas, describe(strategy))
    return strategy


def _join_workers(start_timeout: float, worker_timeout: float) -> tf.distribute.MultiWorkerMirroredStrategy:
    resolver = tf.distribute.cluster_resolver.TFConfigClusterResolver()
    cluster = multi_worker_util.normalize_cluster_spec(resolver.cluster_spec())
    me = f"{resolver.task_type} {resolver.task_id} of TF_CONFIG"
    _check_port_is_free(cluster.task_address(resolver.task_type, resolver.task_id), me)
    jobs = [coordination_config_pb2.CoordinatedJob(name=job, num_tasks=cluster.num_tasks(job)) for job in cluster.jobs]
    # The strategy would do the same with TensorFlow's timeouts; there is no public way to give others.
    context.context().configure_coordination_service(
        service_type="standalone",
        service_leader=multi_worker_util.coordination_leader(cluster),
        cluster_register_timeout_in_ms=round(start_timeout * 1000),
        heartbeat_timeout_in_ms=round(worker_timeout * 1000),
        shutdown_barrier_timeout_in_ms=round(_SHUTDOWN_SECONDS * 1000),
        coordinated_jobs=jobs,
    )
    try:
        return tf.distribute.MultiWorkerMirroredStrategy(cluster_resolver=resolver)
    except (tf.errors.OpError, RuntimeError) as error:
        raise WorkerLostError(
            f"{me} did not meet the other workers within {start_timeout:g} s ({reason_of_loss(error)}); start the "
            "command on every machine with the same TF_CONFIG but its own index, and check that each worker's host and "
            "port can be reached from the others."
        ) from error


def _check_port_is_free(address: str, me: str) -> None:
    """TensorFlow shares a port with whoever has it, and the workers then wait for each other."""
    port = int(address.rpartition(":")[2])
    with socket.socket() as listening:
        try:
            listening.bind(("", port))
        except OSError as error:
            raise preflight_checks.TrainingSetupError(
                f"{me} ({address}): port {port} cannot be used on this machine ({error.strerror}); most likely another "
                "worker was started with the same index, or one of an earlier run has not ended; give each its own."
            ) from error


def describe(strategy: tf.distribute.Strategy) -> str:
    """For example "1 replica: CPU:0"."""
    devices = sorted(device.split("device:")[-1] for device in strategy.extended.worker_devices)
    replicas = strategy.num_replicas_in_sync
    return f"{replicas} replica{'s' if replicas > 1 else ''}: {', '.join(devices)} on each machine"


class Workers:
    """The processes that train together; one alone agrees with itself.

    Attributes:
      is_chief: this is the one that writes checkpoints, logs and records.
      are_several: they must save, evaluate and stop together, or wait forever.
    """

    def __init__(self, strategy: tf.distribute.Strategy):
        resolver = strategy.cluster_resolver
        tasks = resolver.cluster_spec().as_dict() if resolver is not None else {}
        self._strategy = strategy
        self._num_told = 0
        self._summed = tf.function(self._sum_over_workers)
        self.are_several = sum(map(len, tasks.values())) > 1
        self.is_chief = not self.are_several or multi_worker_util.is_chief(tasks, resolver.task_type, resolver.task_id)

    def sum(self, values: Sequence[float]) -> list[float]:
        """Sums over all workers; each waits here until all have come with as many values, in float64."""
        if not self.are_several:
            return [float(value) for value in values]
        return self._summed(tf.constant(values, tf.float64)).numpy().tolist()

    def _sum_over_workers(self, values: tf.Tensor) -> tf.Tensor:
        replicas_here = len(self._strategy.extended.worker_devices)

        def once_for_each_worker() -> tf.Tensor:
            replica = tf.distribute.get_replica_context().replica_id_in_sync_group
            return values * tf.cast(replica % replicas_here == 0, tf.float64)

        shares = self._strategy.run(once_for_each_worker)
        return self._strategy.reduce(tf.distribute.ReduceOp.SUM, shares, axis=None)

    def of_chief(self, value: Any) -> Any:
        """The chief's value, of types that JSON has, which the others are told; they wait for it."""
        if not self.are_several:
            return value
        self._num_told += 1
        key = f"tfod_csf/{self._num_told}"
        if self.is_chief:
            context.context().set_config_key_value(key, json.dumps(value))
            return value
        return json.loads(context.context().get_config_key_value(key, timeout_in_ms=_CHIEF_TIMEOUT_MS))

    @contextlib.contextmanager
    def failing_together(self) -> Iterator[None]:
        """Context manager: an error of this worker ends the others too, and theirs is said in a sentence here.

        Raises:
          WorkerLostError: another worker has ended or cannot be reached.
        """
        try:
            yield
        except _GONE as error:
            if not self.are_several:
                raise
            raise WorkerLostError(
                f"another worker has ended or cannot be reached ({reason_of_loss(error)}); this one ends too; run "
                "the command again on every machine, and training resumes from the newest checkpoint."
            ) from error
        except BaseException as error:
            if self.are_several:
                self._tell_others(error)
            raise

    def _tell_others(self, error: BaseException) -> None:
        text = str(error).strip().partition("\n")[0] or type(error).__name__
        with contextlib.suppress(tf.errors.OpError):  # they may be gone already
            context.context().report_error_to_cluster(tf.errors.ABORTED, text[:500])


def reason_of_loss(error: Exception) -> str:
    """What TensorFlow says of a lost worker, without its own names and addresses."""
    text = re.sub(r"\[type\.googleapis.*", "", str(error), flags=re.DOTALL)
    for pattern in (r"Error reported from (/job:\S+?): (.*)", r"Collective ops is aborted by: ()(.*)", r"()(.*)"):
        found = re.search(pattern, text)
        if found and found[2].strip():
            who = re.sub(r"/job:(\w+)(/replica:\d+)?/task:(\d+)", r"\1 \3: ", found[1])
            return f"{who}{found[2].strip().rstrip('.:')}"
    return type(error).__name__
