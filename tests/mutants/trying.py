"""One mistake, in a fork of this process: the tests that reach its line, until one fails.

The tests of the module itself, which mirror it, come first: they notice most mistakes, and within
seconds.
"""

import importlib.abc
import importlib.machinery
import os
import resource
import signal
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, ModuleType

import pytest

from mutants.operators import Mutant

PATIENCE = 20, 5  # a processor's seconds, and how many times as many as without the mistake


class Mistaken(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Loads one module from other code than its file's."""

    def __init__(self, name: str, file: Path, code: CodeType) -> None:
        self._name, self._file, self._code = name, file, code

    def find_spec(self, fullname: str, path: object, target: object = None):
        if fullname != self._name:
            return None
        spec = importlib.machinery.ModuleSpec(fullname, self, origin=str(self._file))
        spec.has_location = True
        return spec

    def exec_module(self, module: ModuleType) -> None:
        exec(self._code, module.__dict__)


class Chosen:
    """A plugin of pytest that keeps some tests alone, in an order of its own.

    Their names as arguments would have pytest look for each by itself, which takes longer than the
    tests.
    """

    def __init__(self, tests: Sequence[str]) -> None:
        self._place = {test: place for place, test in enumerate(tests)}

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        chosen = (item for item in items if item.nodeid in self._place)
        items[:] = sorted(chosen, key=lambda item: self._place[item.nodeid])


@dataclass(frozen=True)
class Try:
    """A mistake, the tests that reach it, and a processor's seconds of these without it."""

    mutant: Mutant
    tests: list[str]
    seconds: float


def outcomes(tries: Iterable[Try], source: Path, jobs: int) -> Iterator[tuple[Try, str, float]]:
    """Yield each try with its outcome and seconds, so many at a time.

    An outcome is ``killed``, ``survived``, or ``timeout``, which is a mistake that was noticed too.
    """
    waiting, running = iter(tries), {}
    while True:
        while len(running) < jobs and (each := next(waiting, None)):
            running[_forked(each, source)] = (each, time.monotonic())
        if not running:
            return
        time.sleep(0.02)
        for child, (each, began) in list(running.items()):
            took = time.monotonic() - began
            done, status = os.waitpid(child, os.WNOHANG)
            if not done and took > 20 * _patience(each):  # it waits for something
                os.killpg(child, signal.SIGKILL)
                done, status = os.waitpid(child, 0)
            if not done:
                continue
            code = os.waitstatus_to_exitcode(status)
            found = {0: "survived", -signal.SIGKILL: "timeout"}.get(code, "killed")
            del running[child]
            yield each, found, took


def _patience(each: Try) -> int:
    return int(PATIENCE[0] + PATIENCE[1] * each.seconds)


def _forked(each: Try, source: Path) -> int:
    child = os.fork()
    if child == 0:
        os.setsid()
        resource.setrlimit(resource.RLIMIT_CPU, (_patience(each), _patience(each)))
        os._exit(_run(each.mutant, source, each.tests))
    return child


def _run(mutant: Mutant, source: Path, tests: list[str]) -> int:
    """Run tests quietly; return 0 where they pass."""
    try:
        file = source / mutant.module
        name = ".".join([source.name, *Path(mutant.module).with_suffix("").parts])
        code = compile(mutant.tree, str(file), "exec")
        sys.meta_path.insert(0, Mistaken(name.removesuffix(".__init__"), file, code))
        nothing = os.open(os.devnull, os.O_RDWR)
        for descriptor in (0, 1, 2):
            os.dup2(nothing, descriptor)
        with tempfile.TemporaryDirectory() as folder:
            quiet = [
                "-q",
                "-x",
                "-n0",
                "--tb=no",
                "--hypothesis-profile=mutants",
                "--assert=plain",
                "-p",
                "no:cacheprovider",
            ]
            for some in filter(None, own_first(mutant, tests)):
                files = dict.fromkeys(test.partition("::")[0] for test in some)
                arguments = [*quiet, f"--basetemp={folder}/t", *files]
                code = pytest.main(arguments, plugins=[Chosen(some)])
                if code not in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
                    return int(code)
            return 0
    except BaseException:  # a mistake that no module can be loaded with was noticed, too
        return 1


def own_first(mutant: Mutant, tests: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return a mistake's tests parted: those in files named after its module, and the others."""
    files = (Path("tests") / mutant.module).with_suffix("")
    name = files.with_name(f"test_{files.name}").as_posix()
    own = [test for test in tests if test.startswith(name)]
    return own, [test for test in tests if not test.startswith(name)]
