"""Which tests reach which lines, and what they take: one run of all of them, traced."""

import json
import sys
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import coverage
import pytest

Reach = dict[str, Any]
"""``seconds``: test → a processor's seconds; ``lines``: module → line → tests."""


class Recorder:
    """A plugin of pytest that notes what each test, and each fixture that several share, reaches.

    A fixture of more than a test's scope runs for the first test that asks for it, and counts for
    all that do.
    """

    def __init__(self, source: Path) -> None:
        self._source = source
        self._coverage = coverage.Coverage(data_file=None, source=[str(source)], config_file=False)
        self._context = ""
        self.seconds: dict[str, float] = {}
        self._users: dict[str, set[str]] = defaultdict(set)

    def _switch(self, context: str) -> str:
        if sys.gettrace() is None:  # Python ends it where a signal's exception meets the tracer
            self._coverage.stop()
            self._coverage.start()
        before, self._context = self._context, context
        self._coverage.switch_context(context)
        return before

    def pytest_sessionstart(self) -> None:
        self._coverage.start()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item):
        began = time.process_time()
        before = self._switch(item.nodeid)
        for name in getattr(item, "fixturenames", []):
            self._users[name].add(item.nodeid)
        try:
            return (yield)
        finally:
            self._switch(before)
            self.seconds[item.nodeid] = time.process_time() - began

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef: pytest.FixtureDef):
        if fixturedef.scope == "function":
            return (yield)
        before = self._switch(f"fixture {fixturedef.argname}")
        try:
            return (yield)
        finally:
            self._switch(before)

    def reach(self) -> Reach:
        self._coverage.stop()
        data = self._coverage.get_data()
        lines: dict[str, dict[str, list[str]]] = {}
        for file in data.measured_files():
            module = Path(file).relative_to(self._source).as_posix()
            lines[module] = {
                str(line): sorted(self._tests(contexts))
                for line, contexts in data.contexts_by_lineno(file).items()
            }
        return {"seconds": self.seconds, "lines": lines}

    def _tests(self, contexts: list[str]) -> set[str]:
        tests: set[str] = set()
        for context in contexts:
            kind, _, name = context.partition(" ")
            tests |= self._users[name] if kind == "fixture" else {context}
        return tests - {""}


def record(source: Path, tests: list[str], file: Path) -> None:
    """Run tests and write what they reach.

    Raises:
        SystemExit: a test fails without any mistake in the code.
    """
    recorder = Recorder(source)
    code = pytest.main(
        ["-q", "-n0", "--assert=plain", "-p", "no:cacheprovider", *tests], plugins=[recorder]
    )
    if code != pytest.ExitCode.OK:
        raise SystemExit("the tests must pass before mistakes are made")
    file.write_text(json.dumps(recorder.reach()))
