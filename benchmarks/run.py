"""``make benchmark``: a meta-gradient of ours, of a plain loop, of higher and of learn2learn.

All contenders compute with the same weights and tasks, in one process, one after the other, round
by round. Their gradients are compared in float64 first, and one that differs is named and not
timed. Times are seconds of one processor core (threads: 1), which other programs on the machine
disturb less than the time on the wall. Each experiment runs twice, in processes of their own: with
the allocator as it is by default, and keeping freed memory as our command does.
"""

import argparse
import itertools
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from contenders import contenders
from torch.utils.flop_counter import FlopCounterMode

from maml import config
from maml.allocator import keep_freed_memory
from maml.check import random_batch, random_parameters, relative
from maml.files import atomic_file
from maml.session import tasks_in_cache

ROOT = Path(__file__).parent.parent
EXPERIMENTS = (
    "omniglot-5way-1shot",
    "omniglot-20way-1shot",
    "omniglot-20way-5shot",
    "omniglot-5way-1shot-mlp",
    "miniimagenet-5way-1shot",
    "miniimagenet-5way-5shot",
)
SMALL_STEP = 0.01  # for the comparison: large inner steps amplify rounding on random images
BOUND = 1e-9
MOST_ROUNDS = 15


class Case:
    """One experiment with its weights and tasks."""

    def __init__(self, name: str, tasks: int | None, learn2learn: Path | None) -> None:
        self.settings = config.read([ROOT / "config.yaml"])
        self.experiment = self.settings.experiment(name)
        self.network = self.settings.networks[self.experiment.network]
        dataset = self.settings.datasets[self.experiment.dataset]
        self.shape = (dataset.channels, dataset.image_size, dataset.image_size)
        self.tasks = tasks or self.experiment.meta_batch_size
        self.learn2learn = learn2learn
        self.chunk = tasks_in_cache(
            self.network,
            self.experiment,
            self.experiment.train_queries,
            dataset.image_size,
            torch.float32,
        )

    def contenders(self, method: str, dtype: torch.dtype, tasks: int, step: float | None) -> dict:
        """Return the contenders for so many tasks; ``step`` replaces the inner step size."""
        experiment = self.experiment
        if step is not None:
            experiment = experiment.model_copy(update={"inner_step_size": step})
        theta = random_parameters(self.network, self.shape, experiment.ways)
        return contenders(
            self.network,
            self.settings.methods[method],
            experiment,
            {name: value.to(dtype) for name, value in theta.items()},
            random_batch(experiment, self.shape, tasks, dtype),
            chunk=self.chunk,
            learn2learn=self.learn2learn,
        )


def measure(case: Case, seconds: float) -> dict[str, Any]:
    """Compare the contenders, then time those that agree; return what was found."""
    found: dict[str, Any] = {"deviation": {}, "seconds": {}, "flop": {}}
    for method in ("maml", "fomaml"):
        exact = {
            name: compute()
            for name, compute in case.contenders(method, torch.float64, 1, SMALL_STEP).items()
        }
        deviation = {name: relative(g, exact["plain loop"]) for name, g in exact.items()}
        found["deviation"][method] = deviation
        with FlopCounterMode(display=False) as counter:
            case.contenders(method, torch.float32, 1, None)["plain loop"]()
        found["flop"][method] = counter.get_total_flops() * case.tasks
        timed = {
            name: compute
            for name, compute in case.contenders(method, torch.float32, case.tasks, None).items()
            if deviation[name] < BOUND
        }
        times: dict[str, list[float]] = {name: [] for name in timed}
        began = time.perf_counter()
        for turn in range(MOST_ROUNDS + 1):
            for name, compute in timed.items():
                before = time.process_time()
                compute()
                if turn:  # the first round warms up
                    times[name].append(time.process_time() - before)
            if turn and time.perf_counter() - began > seconds:
                break
        found["seconds"][method] = times
    found["rate"] = _highest_rate(case)
    return found


def _highest_rate(case: Case) -> float:
    """Return the most FLOP/s that any one of the network's convolutions or products reached."""
    images = case.experiment.ways * case.experiment.train_queries * min(case.tasks, 4)
    channels, side, _ = case.shape
    works = []
    if case.network.kind == "mlp":
        sizes = [channels * side * side, *case.network.widths]
        for inputs, outputs in itertools.pairwise(sizes):
            pair = torch.randn(max(images, 512), inputs), torch.randn(inputs, outputs)
            works.append((torch.mm, pair))
    else:
        stride = 2 if case.network.downsampling == "stride" else 1
        for width in case.network.widths:
            layer = torch.nn.Conv2d(channels, width, 3, stride=stride, padding=1)
            values = torch.randn(images, channels, side, side)
            works.append((layer, (values,)))
            side, channels = (side + 1) // 2 if stride == 2 else side // 2, width
            rows = (torch.randn(8, 256, 9 * channels), torch.randn(8, 9 * channels, width))
            works.append((torch.bmm, rows))
    rates = []
    with torch.no_grad():
        for work, arguments in works:
            with FlopCounterMode(display=False) as counter:
                work(*arguments)
            flop, best = counter.get_total_flops(), float("inf")
            for _ in range(5):
                before = time.process_time()
                work(*arguments)
                best = min(best, time.process_time() - before)
            rates.append(flop / best)
    return max(rates)


def _worker(arguments: argparse.Namespace) -> None:
    if arguments.keep:
        keep_freed_memory()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    case = Case(arguments.experiment, arguments.tasks, arguments.learn2learn)
    if arguments.contender:
        case.contenders(arguments.method, torch.float32, case.tasks, None)[arguments.contender]()
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        print(json.dumps({"bytes": peak}))
    else:
        print(json.dumps(measure(case, arguments.seconds)))


def _spawn(*flags: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", __file__, "--worker", *flags],
        check=True,
        capture_output=True,
        text=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


def _rows(arguments: argparse.Namespace, name: str) -> list[dict[str, Any]]:
    common = ["--experiment", name, "--seconds", str(arguments.seconds)]
    if arguments.learn2learn:
        common += ["--learn2learn", str(arguments.learn2learn)]
    if arguments.tasks:
        common += ["--tasks", str(arguments.tasks)]
    found = {"default": _spawn(*common), "kept": _spawn(*common, "--keep")}
    rate = max(result["rate"] for result in found.values())
    rows = []
    for method in ("maml", "fomaml"):
        for contender, deviation in found["kept"]["deviation"][method].items():
            memory = None
            if arguments.memory:
                keep = ["--keep"] if contender == "ours" else []
                flags = ["--method", method, "--contender", contender, *keep]
                memory = _spawn(*common, *flags)["bytes"] / 2**30
            for allocator, result in found.items():
                times = result["seconds"][method].get(contender, [])
                flop = result["flop"][method]
                quartiles = statistics.quantiles(times, n=4) if len(times) > 1 else times * 3
                low, median, high = quartiles or [None] * 3
                rows.append(
                    {
                        "experiment": name,
                        "method": method,
                        "contender": contender,
                        "allocator": allocator,
                        "deviation": deviation,
                        "rounds": len(times),
                        "seconds": median,
                        "lower_quartile": low,
                        "upper_quartile": high,
                        "gflop": flop / 1e9,
                        "gflop_per_second_at_most": rate / 1e9,
                        "times_the_floor": median and median / (flop / rate),
                        "peak_gib": memory,
                    }
                )
    return rows


def _table(rows: pd.DataFrame) -> str:
    """Return a line for each experiment and method: ours, and each other over ours."""
    lines = [
        "| experiment | method | ours, s | × floor | others, s (× ours) |",
        "|---|---|---|---|---|",
    ]
    for (name, method), group in rows.groupby(["experiment", "method"], sort=False):
        ours = group.query("contender == 'ours' and allocator == 'kept'").iloc[0]
        others = []
        for row in group.query("contender != 'ours'").itertuples():
            setting = "" if row.allocator == "default" else ", our allocator setting"
            said = (
                "differs, not timed"
                if row.rounds == 0
                else (f"{row.seconds:.3g} (× {row.seconds / ours.seconds:.1f})")
            )
            others.append(f"{row.contender}{setting}: {said}")
        lines.append(
            f"| {name} | {method} | {ours.seconds:.3g} ({ours.lower_quartile:.3g} to "
            f"{ours.upper_quartile:.3g}) | {ours.times_the_floor:.1f} | {'; '.join(others)} |"
        )
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    return (
        f"Seconds of one processor core for a meta-gradient, median (quartiles), torch "
        f"{torch.__version__}, {platform.machine()}, {os.cpu_count()} cores; the machine's load "
        f"over the last 1, 5 and 15 minutes was {load}. Others with the allocator's default "
        f"unless said otherwise.\n\n" + "\n".join(lines) + "\n"
    )


def _figure(rows: pd.DataFrame, path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    users = rows[(rows.allocator == "kept") == (rows.contender == "ours")].dropna(
        subset=["times_the_floor"]
    )
    figure, axes = pyplot.subplots(1, 2, figsize=(11, 4), sharey=True, layout="constrained")
    for axis, (method, group) in zip(axes, users.groupby("method", sort=False), strict=True):
        wide = group.pivot(index="experiment", columns="contender", values="times_the_floor")
        wide.reindex(group.experiment.unique()).plot.barh(ax=axis, legend=method == "maml")
        axis.axvline(1, color="black", linewidth=0.8)
        axis.set(title=method, xlabel="time over the floor", ylabel="")
    axes[0].invert_yaxis()
    with atomic_file(path) as unfinished:
        figure.savefig(unfinished, format="svg", metadata={"Date": None})


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=ROOT / "results" / "benchmark")
    parser.add_argument("--seconds", type=float, default=10.0, help="of each timing")
    parser.add_argument("--tasks", type=int, help="tasks of a meta-batch; as configured if absent")
    parser.add_argument("--learn2learn", type=Path, help="folder with learn2learn's source")
    parser.add_argument("--memory", action="store_true", help="measure peak memory too")
    parser.add_argument("--experiments", nargs="+", default=EXPERIMENTS)
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--experiment", help=argparse.SUPPRESS)
    parser.add_argument("--method", help=argparse.SUPPRESS)
    parser.add_argument("--contender", help=argparse.SUPPRESS)
    parser.add_argument("--keep", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        _worker(arguments)
        return
    rows: list[dict[str, Any]] = []
    arguments.out.mkdir(parents=True, exist_ok=True)
    for name in arguments.experiments:
        print(name, flush=True)
        rows += _rows(arguments, name)
        table = pd.DataFrame(rows)
        with atomic_file(arguments.out / "benchmark.csv") as unfinished:
            table.to_csv(unfinished, index=False, float_format="%.6g")
        with atomic_file(arguments.out / "benchmark.md") as unfinished:
            unfinished.write_text(_table(table), encoding="utf-8")
        _figure(table, arguments.out / "benchmark.svg")
    print(f"The table and the figure are in {arguments.out}.")


if __name__ == "__main__":
    main()
