import os
import signal
import subprocess
import sys
import threading

import pytest

from maml.training.stopping import SIGNALS, Stop, leave_when_asked


@pytest.fixture(autouse=True)
def handlers():
    """Put the handlers back, whatever a test installs."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    yield before
    for number, handler in before.items():
        signal.signal(number, handler)


def send(number):
    os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", SIGNALS)
def test_a_request_is_held_back_until_a_check(number):
    done = []

    def work():
        with Stop() as stop:
            stop.check()
            send(number)
            send(number)  # being impatient changes nothing
            done.append("work")
            stop.check()
            done.append("more")

    with pytest.raises(SystemExit) as left:
        work()
    assert done == ["work"]
    assert left.value.code == 128 + number


def test_a_block_that_may_be_left_is_left_at_once():
    done = []

    def work(stop):
        with stop.at_once():
            send(signal.SIGTERM)
            done.append("work")

    with Stop() as stop:
        with pytest.raises(SystemExit):
            work(stop)
        send(signal.SIGTERM)
        done.append("saved")  # what follows is held back again
        with pytest.raises(SystemExit), stop.at_once():
            done.append("block")
    assert done == ["saved"]


def test_a_second_signal_on_the_way_out_changes_nothing():
    leave_when_asked()

    def work():
        with Stop() as stop:
            send(signal.SIGTERM)
            stop.check()

    with pytest.raises(SystemExit):
        work()
    send(signal.SIGTERM)  # a traceback, where Python is about to end
    leave_when_asked()
    with pytest.raises(SystemExit):
        send(signal.SIGTERM)


def test_a_second_signal_while_the_first_is_obeyed_changes_nothing():
    """It comes between any two lines, of the libraries' too, that the first one's handler runs."""

    class TooLong(Exception):
        pass

    def tell(number, frame):
        raise TooLong

    def leave(at):
        """Send a signal, and another as the line ``at`` is reached; return whether it is."""
        lines = 0

        def trace(frame, event, argument):
            nonlocal lines
            if event == "line":
                lines += 1
                if lines == at:
                    signal.raise_signal(signal.SIGTERM)
            return trace

        leave_when_asked()
        sys.settrace(trace)
        code = None
        try:
            send(signal.SIGINT)
        except SystemExit as left:
            code = left.code
        finally:
            sys.settrace(None)
        assert code in (130, 143)
        return lines >= at

    before = signal.signal(signal.SIGALRM, tell)
    signal.alarm(10)
    try:
        at = 1
        while leave(at):
            at += 1
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
    assert at > 2


def test_handlers_are_put_back(handlers):
    with Stop():
        assert signal.getsignal(signal.SIGTERM) != handlers[signal.SIGTERM]
    assert {number: signal.getsignal(number) for number in SIGNALS} == handlers


def test_what_is_ignored_stays_ignored():
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
    leave_when_asked()
    with Stop() as stop:
        send(signal.SIGHUP)
        stop.check()


def test_outside_of_the_main_thread_nothing_is_installed(handlers):
    def work():
        with Stop() as stop:
            stop.check()
            seen.append(signal.getsignal(signal.SIGTERM))

    seen = []
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [handlers[signal.SIGTERM]]


@pytest.mark.parametrize("number", SIGNALS)
def test_a_command_leaves_with_the_code_of_the_signal_and_without_a_traceback(number):
    work = (
        "import time; from maml.training.stopping import leave_when_asked; leave_when_asked(); "
        "print('ready', flush=True); time.sleep(60)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", work], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "ready\n"
    process.send_signal(number)
    assert process.communicate()[1] == ""
    assert process.returncode == 128 + number
