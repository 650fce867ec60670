"""What a run says when it ends; tests/workflow/test_interruption.py has the whole way."""

import os
import signal

import pytest

from maml.workflow.ending import FAILED, INTERRUPTED, Ending

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@pytest.fixture(autouse=True)
def handlers(monkeypatch):
    """Put the handlers back, and tell no other process of a test's signals."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    told = []
    monkeypatch.setattr(os, "killpg", lambda group, number: told.append((group, number)))
    yield told
    for number, handler in before.items():
        signal.signal(number, handler)


def test_a_run_that_was_not_asked_to_end_has_failed(capsys):
    ending = Ending()
    ending.listen()
    ending.say()
    assert capsys.readouterr().err == f"{FAILED}\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_ctrl_c_and_a_closed_terminal_interrupt_it(number, capsys, handlers):
    ending = Ending()
    ending.listen()
    with pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), number)
    ending.say()
    assert capsys.readouterr().err == f"{INTERRUPTED}\n"
    assert handlers == ([(0, number)] if number == signal.SIGHUP else [])


def test_a_handler_of_before_is_asked_too(capsys):
    seen = []
    signal.signal(signal.SIGTERM, lambda number, frame: seen.append(number))
    ending = Ending()
    ending.listen()
    os.kill(os.getpid(), signal.SIGTERM)
    ending.say()
    assert seen == [signal.SIGTERM]
    assert capsys.readouterr().err == f"{INTERRUPTED}\n"


def test_what_is_ignored_stays_ignored(capsys):
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
    ending = Ending()
    ending.listen()
    os.kill(os.getpid(), signal.SIGHUP)
    ending.say()
    assert capsys.readouterr().err == f"{FAILED}\n"
