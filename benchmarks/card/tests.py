"""Step 3: the tests that a card must pass, by name; those of mini-ImageNet's graphs come last."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from benchmarks.card.outcomes import VARIABLE
from benchmarks.card.plan import ROOT, Setting

ITERATION = "tests/training/test_iteration.py"
META = "tests/algorithm/test_maml.py"
FUSED = "tests/networks/test_fused.py"
GRAPHS = (
    f"{ITERATION}::test_waits_for_nothing",
    f"{ITERATION}::test_a_replay_gives_the_bits_of_the_operations_one_by_one",
    f"{ITERATION}::test_capturing_changes_nothing_and_goes_on_where_the_optimizer_stands",
)
ESSENTIAL = {
    "meta-gradient": (
        f"{META}::test_equals_a_plain_loop_over_tasks",
        f"{META}::test_of_several_weights_at_once_is_that_of_each",
        f"{META}::test_float32_rounds_and_nothing_else",
    ),
    "tasks and graphs": (
        "tests/compute/test_graphs.py::test_a_graph_does_the_work_again_and_capturing_it_does_not",
        "tests/tasks/test_episodes.py::test_a_device_chooses_the_same_tasks_itself",
        "tests/tasks/test_philox.py::test_both_give_the_same_kinds_of_streams",
        f"{ITERATION}::test_several_seeds_at_once_move_as_each_alone",
        *GRAPHS,
    ),
    "fused kernels": (
        f"{FUSED}::test_computes_what_pytorch_does",
        f"{FUSED}::test_rounds_as_pytorch_does",
        f"{FUSED}::test_a_meta_gradient_is_that_of_a_plain_loop",
        f"{FUSED}::test_gives_the_same_bits_each_time",
        f"{FUSED}::test_can_be_a_cuda_graph",
    ),
    "resuming": (
        "tests/training/test_train.py::test_a_run_that_crashes_ends_with_the_same_bits",
        "tests/training/test_train.py::test_a_run_by_graphs_that_crashes_ends_with_the_same_bits",
    ),
}
"""Group → tests; the groups run side by side."""
LAST = {"mini-ImageNet's graphs": GRAPHS}
"""What may fail in ways that end the process, or take long."""
NAME = "miniimagenet"  # in the names of the tests that come last
SAMPLE = "tasks and graphs"
NO_TESTS = 5  # pytest's exit status


def items(setting: Setting) -> Iterator[tuple[str, Callable[[], Any]]]:
    """Yield the groups that run side by side, and after them the last ones."""
    groups = ESSENTIAL
    if setting.device == "simulated":  # a sample: a CPU runs them all elsewhere
        groups = {SAMPLE: ESSENTIAL[SAMPLE]}
    yield "side by side", partial(_side_by_side, setting, groups, f"not {NAME}")
    yield "last", partial(_side_by_side, setting, LAST, NAME)


def _side_by_side(
    setting: Setting, groups: dict[str, tuple[str, ...]], expression: str
) -> dict[str, int]:
    """Return group → pytest's exit status; each outcome is recorded by the plugin."""
    # what compares meta-gradients is quick on mini-ImageNet, too
    chosen = {
        name: expression if set(tests) & set(GRAPHS) else "" for name, tests in groups.items()
    }
    with ThreadPoolExecutor(len(groups)) as pool:
        statuses = pool.map(lambda name: _pytest(setting, groups[name], chosen[name]), groups)
        found = dict(zip(groups, statuses, strict=True))
    wrong = [name for name, status in found.items() if status not in (0, NO_TESTS)]
    if wrong:
        raise AssertionError(f"not all tests passed of: {', '.join(wrong)}")
    return found


def _pytest(setting: Setting, tests: tuple[str, ...], expression: str) -> int:
    marker = "cuda" if setting.device == "cuda" else "not cuda"  # the same tests on a CPU
    options = ["-q", "-p", "benchmarks.card.outcomes", "-p", "no:cacheprovider", "-m", marker]
    names = ["-k", expression] if expression else []
    return subprocess.run(
        [sys.executable, "-m", "pytest", *options, *names, *tests],
        cwd=ROOT,
        env=os.environ | {VARIABLE: str(setting.record)},
        check=False,
    ).returncode
