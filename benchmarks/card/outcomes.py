"""A plugin of pytest that records the outcome of each test as soon as it is known."""

import os
from pathlib import Path

import pytest

from benchmarks.card.plan import ROOT
from benchmarks.card.record import Record

STEP = "tests"
VARIABLE = "CARD_RECORD"


@pytest.hookimpl(trylast=True)  # after all that was not asked for is left out
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what an earlier call has seen pass; note that the others began."""
    record = Record(Path(os.environ[VARIABLE]))
    passed = record.results(STEP)
    done = [item for item in items if item.nodeid in passed]
    items[:] = [item for item in items if item.nodeid not in passed]
    config.hook.pytest_deselected(items=done)
    for item in items:
        record.fail(STEP, item.nodeid, "did not end")


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Record how a test ended: passed with its seconds, or where it failed."""
    record = Record(Path(os.environ[VARIABLE]))
    if report.failed:
        last = str(report.longrepr).strip().splitlines()[-1].replace(f"{ROOT}/", "")
        record.fail(STEP, report.nodeid, f"{report.when}: {last[:200]}")
    elif report.when == "call" and report.passed:
        record.add(STEP, report.nodeid, report.duration)
