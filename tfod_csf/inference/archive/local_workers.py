"""What Beam's local runner leaves open: servers on every address, workers without their command, a lost worker.

All functions are for the process that runs the pipeline, which leads a group of its own that its workers are in.
"""

import os
import signal
import threading
import time
from typing import Any

import grpc

from tfod_csf.inference.archive import attempts
from tfod_csf.inference.archive.archive_job import ArchiveJob

_ANY_ADDRESS, _LOOPBACK = "[::]:", "127.0.0.1:"
# Name of the threads in which Beam waits for its workers.
_WORKER_THREAD = "run_worker"


def listen_on_loopback_only() -> None:
    """Keeps the servers that Beam's local runner opens away from the network: Beam binds them to every address.

    They ask nobody who he is, and what they are sent is run.
    """
    make_server = grpc.server

    def server(*arguments: Any, **named: Any) -> grpc.Server:
        made = make_server(*arguments, **named)
        add_port = made.add_insecure_port
        made.add_insecure_port = lambda address: add_port(address.replace(_ANY_ADDRESS, _LOOPBACK))
        return made

    grpc.server = server


def end_with_parent() -> None:
    """Ends the group when the command that started it is gone."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os.killpg(os.getpgrp(), signal.SIGKILL)

    threading.Thread(target=watch, daemon=True).start()


def end_with_a_lost_worker(job: ArchiveJob) -> None:
    """Ends the group when a worker was killed, so that the command can give what is left to new ones.

    Beam would let the others finish, which may take days, or wait for the lost one for ever. Of the patients under way
    the lost worker's counts as an attempt that ended its process; those of the others are forgiven.
    """

    def lost(arguments: threading.ExceptHookArgs) -> None:
        threading.__excepthook__(arguments)
        if arguments.thread is not None and arguments.thread.name == _WORKER_THREAD:
            attempts.stop_and_forgive_group(job.attempts_dir)
            os._exit(1)

    threading.excepthook = lost
