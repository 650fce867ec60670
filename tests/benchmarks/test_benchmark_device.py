"""What the benchmark measures on a CUDA device: its logic on a CPU, the rest where there is one."""

import json
import os
from contextlib import nullcontext
from dataclasses import replace

import pandas as pd
import pytest
import torch
from helpers import ROOT, slightly_wrong
from torch.autograd import DeviceType
from torch.autograd.profiler_util import FunctionEvent

from benchmarks import iteration, measuring, report, run, timing, work
from benchmarks.case import CPU, Case
from benchmarks.device import arithmetic, limits, usage
from benchmarks.device import measuring as of_device
from benchmarks.device import run as device_run
from benchmarks.device.arithmetic import ANY_ORDER, DEFAULT, NAMES, TRAINING
from maml.compute import devices
from maml.tasks.upcoming import UpcomingTasks
from maml.training import iteration as training

SMOKE = (ROOT / "config.yaml", ROOT / "workflow" / "presets" / "smoke.yaml")
QUEUEING = torch.device("meta")  # is no CPU, and there is nothing to wait for
MADE_UP = "Made-up GPU 80GB"


def tiny(device=CPU, method="maml", experiment="omniglot-5way-1shot"):
    return Case(experiment, method, files=SMOKE, device=device, whole_iteration=True)


def in_process(function, *arguments):
    return function(*arguments)


@pytest.fixture
def session():
    """Every process, which is this one."""
    work.prepared.cache_clear()
    return dict.fromkeys(NAMES, in_process)


@pytest.fixture
def clock(monkeypatch):
    """A clock that the returned function moves by a second."""
    now = [0.0]
    monkeypatch.setattr(timing.time, "perf_counter", lambda: now[0])

    def compute():
        now[0] += 1.0

    return compute


def test_a_cpu_is_timed_call_by_call(clock):
    assert timing.calls(clock, CPU, 10.0) == 1
    assert timing.of_call(clock, CPU) == 1.0
    assert timing.time.perf_counter() == 1.0  # nothing but the call that was timed


def test_a_device_is_timed_in_blocks(clock, monkeypatch):
    assert timing.calls(clock, QUEUEING, 3.5) == 4
    assert timing.calls(clock, QUEUEING, 0.1) == 1
    monkeypatch.setattr(timing, "BLOCK_SECONDS", 5.0)
    before = timing.time.perf_counter()
    assert timing.of_call(clock, QUEUEING) == 1.0
    assert timing.time.perf_counter() == before + 1 + 5  # one to find how many, and the block


def test_a_device_is_waited_for_before_and_after_a_block(monkeypatch):
    said = []
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: said.append("waited"))
    timing.block(lambda: said.append("called"), torch.device("cuda:0"), 2)
    assert said == ["waited", "called", "called", "waited"]


@pytest.mark.parametrize(
    ("spans", "seconds"),
    [
        ([], 0),
        ([(1, 3)], 2),
        ([(5, 6), (1, 3)], 3),
        ([(1, 3), (2, 5)], 4),
        ([(1, 9), (2, 3), (4, 5)], 8),
        ([(1, 2), (2, 3)], 2),
        ([(1, 4), (1, 4)], 3),
    ],
)
def test_time_is_covered_once(spans, seconds):
    assert usage.covered(spans) == seconds


def event(name, start, end, device=DeviceType.CUDA, annotation=False):
    return FunctionEvent(0, name, 0, start, end, device_type=device, is_user_annotation=annotation)


def test_a_profile_is_read():
    events = [
        event("cudaLaunchKernel", 0, 900, device=DeviceType.CPU),
        event("ProfilerStep*", 0, 900, annotation=True),
        event("gemm", 100, 300),
        event("relu", 200, 400),  # beside the first
        event("gemm", 500, 600),
        event("relu", 650, 750),
        event("Memcpy HtoD (Pageable -> Device)", 0, 90),
        event("Memset (Device)", 800, 850),
    ]
    assert usage.reading(events, seconds=0.001, calls=2) == {
        "kernels": 2,
        "copies": 1,
        "kernel_seconds": pytest.approx(250e-6),
        "utilisation": pytest.approx(0.5),
    }


def test_a_profile_without_kernels_says_nothing():
    copies = [event("Memcpy DtoD (Device -> Device)", 0, 90)]
    assert set(usage.reading(copies, seconds=1.0, calls=1).values()) == {None}


def test_memory_and_kernels_are_those_of_a_device(device):
    found = usage.measured(tiny(torch.device(device)), "ours")
    assert found.keys() == set(usage.COLUMNS)
    if device == "cpu":
        assert set(found.values()) == {None}
    else:
        assert 0 < found["idle_mib"] < found["peak_mib"]
        assert found["kernels"] >= 1
        assert found["kernel_seconds"] > 0
        assert 0 < found["utilisation"] <= 1


@pytest.fixture
def arithmetic_restored(monkeypatch):
    """Undo what a process that computes on a device would keep."""
    monkeypatch.setenv(arithmetic.WORKSPACE_VARIABLE, "")
    monkeypatch.delenv(arithmetic.WORKSPACE_VARIABLE)
    backends = (torch.backends.cuda.matmul, torch.backends.cudnn.conv)
    precisions = [each.fp32_precision for each in backends]
    deterministic = torch.are_deterministic_algorithms_enabled()
    yield
    for each, precision in zip(backends, precisions, strict=True):
        each.fp32_precision = precision
    torch.use_deterministic_algorithms(deterministic)
    torch.utils.deterministic.fill_uninitialized_memory = True


@pytest.mark.usefixtures("arithmetic_restored")
def test_each_arithmetic_is_what_it_is_called():
    def state():
        return (
            torch.backends.cudnn.conv.fp32_precision,
            torch.are_deterministic_algorithms_enabled(),
            os.environ.get(arithmetic.WORKSPACE_VARIABLE),
        )

    before, cuda = state(), torch.device("cuda:0")
    arithmetic.choose(DEFAULT, cuda)
    assert state() == before
    arithmetic.choose(ANY_ORDER, cuda)
    assert state() == ("ieee", False, None)
    arithmetic.choose(TRAINING, cuda)
    assert state() == ("ieee", True, ":4096:8")


def test_limits_are_measured(device):
    case = tiny(torch.device(device), experiment="omniglot-5way-1shot-mlp")
    before = torch.backends.cudnn.benchmark
    rate, name = limits.highest(case)
    assert rate > 0
    assert "layer" in name
    assert torch.backends.cudnn.benchmark == before
    assert limits.bandwidth(case.device, 2**16) > 0


@pytest.mark.parametrize("method", device_run.METHODS)
def test_every_contender_is_compared_and_timed(session, device, method):
    case = tiny(torch.device(device), method)
    processes = nullcontext(session) if device == "cpu" else arithmetic.processes(case.device)
    with processes as ask:
        rows = of_device.measure(case, ask, (1e9, "a product"), seconds=0)
    table = pd.DataFrame(rows).set_index(["contender", "arithmetic"])
    assert table["deviation"].max() < measuring.BOUND
    assert table["rounds"].min() >= measuring.LEAST_ROUNDS
    assert (table["tasks_timed"] == table["tasks"]).all()
    expected = {("plain loop", ANY_ORDER), ("plain loop", DEFAULT)}
    ours = ("ours", "ours, whole iteration", "ours, three seeds")
    expected |= {(name, how) for name in ours for how in NAMES}
    assert expected <= set(table.index)
    assert all(how != TRAINING for name, how in table.index if name not in of_device.OURS)


def test_each_way_of_a_whole_iteration_is_what_it_is_called(monkeypatch):
    monkeypatch.setattr(iteration, "iterations", lambda session, thetas: session.job)
    for name, way in iteration.WAYS.items():
        job = tiny().iterations(way, 2, torch.float32)
        assert (job.runtime.cuda_graphs, job.runtime.kernels) == (way.graph, way.kernels)
        assert len(job.seeds) == way.seeds
        assert way.graph == ("graph" in name.lower())
        assert (way.kernels == "triton") == ("fused" in name)


def test_what_is_compared_leaves_its_changes_to_the_caller():
    changes = {"inner_steps": 1}
    for _ in range(2):
        tiny().deviation_of_iterations(iteration.Way(), 1, changes)
    assert changes == {"inner_steps": 1}


class TheSameAgain(UpcomingTasks):
    """The tasks of the first iteration, in every iteration."""

    def of(self, iteration):
        return super().of(0 * iteration)


@pytest.mark.parametrize(
    ("attribute", "wrong"),
    [
        ("meta_gradients", slightly_wrong(training.meta_gradients)),
        ("UpcomingTasks", TheSameAgain),
    ],
)
def test_a_wrong_iteration_is_named_and_not_timed(session, monkeypatch, attribute, wrong):
    monkeypatch.setattr(training, attribute, wrong)
    rows = of_device.measure(tiny(), session, (1e9, "a product"), seconds=0)
    rows = pd.DataFrame(rows).set_index("contender")
    for name in ("ours, whole iteration", "ours, three seeds"):
        assert set(rows.loc[name, "rounds"]) == {0}
    assert rows.loc["ours", "rounds"].min() >= measuring.LEAST_ROUNDS


def test_usage_is_that_of_each_contender_as_its_users_run_it(session, monkeypatch):
    monkeypatch.setattr(arithmetic, "processes", lambda device: nullcontext(session))
    monkeypatch.setattr(limits, "measured", lambda case: ((1e9, "a product"), 2e12))
    monkeypatch.setattr(usage, "measured", lambda case, contender: {"kernels": len(contender)})
    rows = pd.DataFrame(of_device.experiment([tiny()], name=MADE_UP, seconds=0))
    assert set(rows["device"]) == {MADE_UP}
    assert set(rows["gigabytes_per_second"]) == {2000.0}
    measured = rows.dropna(subset=["kernels"])
    assert dict(zip(measured["contender"], measured["arithmetic"], strict=True)) == {
        name: of_device.usual(name) for name in rows["contender"].unique()
    }
    assert (measured["kernels"] == measured["contender"].map(len)).all()


def fake_rows(method):
    case = replace(tiny(), work=method)
    pairs = [(name, how) for name in of_device.OURS for how in NAMES]
    pairs += [("plain loop", how) for how in (ANY_ORDER, DEFAULT)]
    rows = [
        measuring.row(
            case,
            2,
            pair,
            (1e-15, None),
            [0.1, 0.2, 0.4],
            1e8,
            (1e9, "a product"),
            setting="arithmetic",
        )
        | {"device": MADE_UP, "gigabytes_per_second": 2000.0}
        for pair in pairs
    ]
    for row in rows:
        row |= dict.fromkeys(usage.COLUMNS)
        if row["arithmetic"] == of_device.usual(row["contender"]):
            row |= {"kernels": 1234.0, "copies": 5.0, "kernel_seconds": 0.05, "utilisation": 0.4}
            row |= {"idle_mib": 10.0, "peak_mib": 110.0}
    rows[1]["seconds"] /= 2  # ours in any order
    return rows


@pytest.fixture
def made_up_device(tmp_path, monkeypatch):
    """A device whose results are made up."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(devices, "choose", lambda setting, name: torch.device("cuda:0"))
    monkeypatch.setattr(devices, "taken", lambda runtime: nullcontext(torch.device("cuda:0")))
    monkeypatch.setattr(device_run, "asked", lambda **named: nullcontext(in_process))
    monkeypatch.setattr(device_run, "description", lambda device: {"name": MADE_UP, "cuda": "13"})
    monkeypatch.setattr(
        of_device,
        "experiment",
        lambda cases, name, seconds: [row for case in cases for row in fake_rows(case.work)],
    )


@pytest.mark.usefixtures("made_up_device")
def test_a_device_has_a_folder_and_a_page_of_its_own(tmp_path, capsys):
    choice = ["--device", "cuda", "--experiments", "omniglot-5way-1shot"]
    run.main(["--out", str(tmp_path / "out"), *choice])
    assert not (tmp_path / "out").exists()  # that is the CPU's
    out = tmp_path / "out-made-up-gpu-80gb"
    assert {path.name for path in out.iterdir()} == {"about.json", "benchmark.csv", "benchmark.md"}
    assert json.loads((out / "about.json").read_text())["device"]["name"] == MADE_UP
    assert set(pd.read_csv(out / "benchmark.csv")["device"]) == {MADE_UP}
    assert str(out) in capsys.readouterr().out

    page = (out / "benchmark.md").read_text(encoding="utf-8")
    lines = [line for line in page.splitlines() if line.startswith("|") and "---" not in line]
    headers = [line for line in lines if line.startswith("| device ")]
    assert len(headers) == page.count("\n|:--") == 5
    assert all(line.startswith(f"| {MADE_UP} ") for line in lines if line not in headers)
    assert "**× 0.5**, 0.1 " in page  # ours in any order, of what training takes
    assert "| 1,234 " in page
    assert "| 40% " in page
    assert "| 25% " in page  # kernels run 0.05 of 0.2 s
    assert "| 2,000 " in page

    (out / "benchmark.md").unlink()
    run.main(["--out", str(out), "--report"])
    assert (out / "benchmark.md").read_text(encoding="utf-8") == page


@pytest.mark.usefixtures("made_up_device")
def test_what_is_no_benchmark_of_a_device_is_not_replaced(tmp_path, monkeypatch):
    monkeypatch.setattr(of_device, "experiment", pytest.fail)
    others = tmp_path / "out-made-up-gpu-80gb"
    others.mkdir()
    (others / "card.md").touch()
    with pytest.raises(SystemExit, match="out-made-up-gpu-80gb would be replaced"):
        run.main(["--device", "cuda", "--out", str(tmp_path / "out")])
    assert (others / "card.md").is_file()


@pytest.mark.usefixtures("made_up_device")
def test_a_device_is_measured_beside_the_cpu(tmp_path, monkeypatch):
    measured = []
    monkeypatch.setattr(run, "_measure", lambda asked: measured.append(asked.out))
    monkeypatch.setattr(run.report, "write", lambda folder, page: measured.append(folder))
    out = tmp_path / "out"
    run.main(["--out", str(out)])
    assert measured == [out, out, tmp_path / "out-made-up-gpu-80gb"]
    measured.clear()
    run.main(["--out", str(out), "--kinds", "growth", "jobs"])
    assert measured == [out, out]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "--device is cuda, but no GPU is visible; set it to auto or cpu"),
        (["--report"], "holds no measurements"),
    ],
)
def test_a_device_that_is_not_there_is_said(tmp_path, monkeypatch, arguments, said):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    with pytest.raises(SystemExit, match=said):
        run.main(["--device", "cuda", "--out", str(tmp_path / "out"), *arguments])


@pytest.mark.usefixtures("made_up_device")
def test_a_device_has_no_part_in_some_kinds(tmp_path):
    with pytest.raises(SystemExit, match="measures the kind experiment alone; add it to --kinds"):
        run.main(["--device", "cuda", "--kinds", "jobs", "--out", str(tmp_path / "out")])


def test_a_device_is_described(device):
    found = device_run.description(torch.device(device))
    assert devices.describe(torch.device(device)).endswith(found["name"])
    assert ("memory_gib" in found) == (device == "cuda")


def test_the_page_of_the_cpu_is_that_of_its_figures(tmp_path, monkeypatch):
    monkeypatch.setattr(report.figures, "write", lambda *tables: None)
    committed = ROOT / "results" / "benchmark"
    for name in ("about.json", "benchmark.csv", "growth.csv", "jobs.csv"):
        (tmp_path / name).write_bytes((committed / name).read_bytes())
    report.write(tmp_path, page=None)
    page = (tmp_path / "benchmark.md").read_text(encoding="utf-8")
    assert page == (committed / "benchmark.md").read_text(encoding="utf-8")
    assert "device" not in page
