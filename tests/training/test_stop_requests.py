import os
import signal
import threading

import pytest

from tfod_csf.training import stop_requests
from tfod_csf.training.stop_requests import StopRequests


@pytest.mark.parametrize(("number", "name"), [(signal.SIGINT, "Ctrl-C"), (signal.SIGTERM, "SIGTERM")])
def test_the_first_signal_is_noted_and_the_second_acts_as_usual(number, name, monkeypatch):
    before = signal.getsignal(number)
    received = []
    signal.signal(number, lambda *_: received.append(number))
    try:
        with StopRequests() as requests:
            os.kill(os.getpid(), number)
            assert (requests.name, received) == ("", [number])  # nothing to save yet
            requests.start()
            requests.start()
            os.kill(os.getpid(), number)
            assert (requests.name, requests.number, received) == (name, number, [number])
            os.kill(os.getpid(), number)  # `timeout` may send it to the process and to its group
            assert received == [number]
            monkeypatch.setattr(stop_requests, "_DOUBLE", 0.0)
            os.kill(os.getpid(), number)
            assert received == [number, number]
    finally:
        signal.signal(number, before)


def test_handlers_are_restored_without_a_signal():
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with StopRequests() as requests:
        requests.start()
        assert signal.getsignal(signal.SIGTERM) != before[1]
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before
    assert requests.name == ""


def test_outside_the_main_thread_nothing_is_caught():
    before, inside = signal.getsignal(signal.SIGTERM), []

    def enter():
        with StopRequests() as requests:
            requests.start()
            inside.append((signal.getsignal(signal.SIGTERM), requests.name))

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert inside == [(before, "")]
