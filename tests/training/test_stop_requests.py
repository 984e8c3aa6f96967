import os
import signal
import threading

import pytest

from tfod_csf.training.stop_requests import StopRequests


@pytest.mark.parametrize(("number", "name"), [(signal.SIGINT, "Ctrl-C"), (signal.SIGTERM, "SIGTERM")])
def test_the_first_signal_is_noted_and_the_second_acts_as_usual(number, name):
    before = signal.getsignal(number)
    received = []
    signal.signal(number, lambda *_: received.append(number))
    try:
        with StopRequests() as requests:
            assert requests.name == ""
            os.kill(os.getpid(), number)
            assert (requests.name, received) == (name, [])
            os.kill(os.getpid(), number)
            assert received == [number]
    finally:
        signal.signal(number, before)


def test_handlers_are_restored_without_a_signal():
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with StopRequests() as requests:
        assert signal.getsignal(signal.SIGTERM) != before[1]
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before
    assert requests.name == ""


def test_outside_the_main_thread_nothing_is_caught():
    before, inside = signal.getsignal(signal.SIGTERM), []

    def enter():
        with StopRequests() as requests:
            inside.append((signal.getsignal(signal.SIGTERM), requests.name))

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert inside == [(before, "")]
