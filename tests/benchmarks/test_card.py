"""What a card is asked for, on a simulated one; and what runs before anything is unpacked."""

import importlib.metadata
import json
import os
import subprocess
import sys
import tarfile
import time
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
from helpers import ROOT

from benchmarks import iteration
from benchmarks.card import __main__ as card
from benchmarks.card import bundle, imported, measure, page, plan, tests, training, wheels
from benchmarks.card.measure import item
from benchmarks.card.record import Record
from benchmarks.card.training import Choice
from benchmarks.iteration import Way
from maml.configuration import config
from maml.data.download import download
from maml.data.prepare import prepare
from maml.files.errors import UserError
from maml.files.unpacking import extract_all

BEFORE_AFTER = ("before", "after")
SMOKE = ROOT / "workflow" / "presets" / "smoke.yaml"


@pytest.fixture
def record(tmp_path):
    return Record(tmp_path / "card.jsonl")


@pytest.fixture
def setting(record, tmp_path):
    return plan.Setting(
        record=record.path,
        work=tmp_path / "work",
        data=tmp_path / "data",
        device="simulated",
        overlays=(SMOKE,),
        seconds=100.0,
    )


def test_the_last_line_on_an_item_counts_and_one_that_was_cut_short_does_not(record):
    record.fail("times", "a", "did not end")
    record.add("times", "a", 1.5)
    record.fail("times", "b", "did not end")
    with record.path.open("a", encoding="utf-8") as file:
        file.write('{"step": "times", "item": "b", "resu')
    assert record.results("times") == {"a": 1.5}
    assert record.failures() == {("times", "b"): "did not end"}
    assert record.knows("times", "b")
    assert not record.knows("tests", "a")


def test_results_are_taken_over_and_failures_tried_again(record, tmp_path):
    before = Record(tmp_path / "before.jsonl")
    before.add("times", "a", 1.0)
    before.add("times", "b", 2.0)
    before.fail("times", "c", "did not end")
    record.add("times", "a", 3.0)
    assert record.take_over(before, plan.STEPS) == 1
    assert record.results("times") == {"a": 3.0, "b": 2.0}
    assert not record.knows("times", "c")


@pytest.mark.parametrize("seconds", [0, 20, 300, 540, 5000])
def test_the_steps_leave_time_for_a_training(seconds):
    found = plan.limits(seconds)
    assert sum(found.values()) <= 300  # five minutes
    assert sum(found.values()) <= max(0, seconds - plan.RESERVE) * (1 - plan.KEPT_FOR_TRAINING) + 1
    assert min(found.values()) >= 0


def test_a_setting_arrives_whole(setting):
    assert plan.Setting.unpacked(json.loads(json.dumps(setting.packed()))) == setting


def wheel(folder, name, tags, module):
    path = folder / f"{name}-1.0-{tags}.whl"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr(f"{module}.py", "value = 7\n")
        file.writestr(f"{name}-1.0.dist-info/METADATA", f"Name: {name}\nVersion: 1.0\n")


def test_what_is_missing_is_unpacked_and_can_be_imported(tmp_path):
    minor = sys.version_info.minor
    wheel(tmp_path, "missing_here", "py3-none-any", "missing_here")
    wheel(tmp_path, "other_python", f"cp3{minor + 1}-cp3{minor + 1}-linux_x86_64", "other_python")
    wheel(tmp_path, "older_abi", "cp310-abi3-linux_x86_64", "older_abi")
    wheel(tmp_path, "pytest", "py3-none-any", "pytest")
    site = tmp_path / "site"
    said = wheels.unpack_missing(tmp_path, site)
    assert said == [
        "missing_here 1.0: unpacked",
        "older_abi 1.0: unpacked",
        f"other_python 1.0: is for cp3{minor + 1}, left out",
        "pytest 1.0: there is one",
    ]
    code = "import missing_here, older_abi; print(missing_here.value)"
    environment = os.environ | {"PYTHONPATH": str(site)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True)
    assert done.stdout == b"7\n"


def test_the_bundle_asks_for_what_the_lock_file_has():
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    lines = bundle.locked(lock, bundle.PACKAGES).splitlines()
    named = [line.partition("==")[0] for line in lines if "==" in line]
    assert named == list(bundle.PACKAGES)
    for name in ("pydantic", "pandas"):
        version = importlib.metadata.version(name)
        assert any(line.startswith(f"{name}=={version} ") for line in lines)
    assert all(line.lstrip().startswith("--hash=sha256:") for line in lines if "==" not in line)
    with pytest.raises(UserError, match="does not have no-such-package"):
        bundle.locked(lock, ("no-such-package",))


def test_the_bundle_may_not_be_too_large(tmp_path, monkeypatch):
    folder = tmp_path / "card"
    folder.mkdir()
    (folder / "wheel.whl").write_bytes(b"\0" * 1000)
    monkeypatch.setattr(bundle, "BUNDLE", folder)
    monkeypatch.setattr(bundle, "ROOT", tmp_path)
    monkeypatch.setattr(bundle, "FOLDERS", ())
    monkeypatch.setattr(bundle, "FILES", ())
    bundle.pack(tmp_path / "card.tar.gz")
    with tarfile.open(tmp_path / "card.tar.gz") as archive:
        assert archive.getnames() == ["maml/card", "maml/card/wheel.whl"]
    monkeypatch.setattr(bundle, "MOST_BYTES", 999)
    with pytest.raises(UserError, match="take packages out"):
        bundle.pack(tmp_path / "other.tar.gz")
    assert not (tmp_path / "other.tar.gz").exists()


def times_of(*folder):
    return Record(Path(ROOT, "results", *folder, "card.jsonl")).results("times")


def rows_of(marker):
    """Return experiment, method and cells of each row of a table of the page on speed."""
    page = (ROOT / "docs" / "speed.md").read_text(encoding="utf-8")
    table = page.partition(f"<!-- {marker}:")[2].partition(f"<!-- end of {marker} -->")[0]
    rows = [[cell.strip() for cell in row.split("|")[1:-1]] for row in table.splitlines()[3:]]
    return list(filter(None, rows))


def test_the_page_on_speed_has_the_times_of_the_records():
    before, after = (times_of("card-nvidia-h100-80gb-hbm3", of) for of in BEFORE_AFTER)
    rows = rows_of("card")
    assert [row[:2] for row in rows] == [
        [name, method]
        for name in config.read([ROOT / "config.yaml"]).select.experiments
        for method in measure.METHODS
    ]
    for name, method, *cells in rows:
        for cell, way in zip(cells, (Way(), Way(graph=True), Way(True, 3)), strict=True):
            key = item(name, method, way)
            shown = [f"{times[key]:.3g}" for times in (before, after) if key in times]
            assert cell == (" → ".join(shown[:1] if way == Way() else shown) or "–")


def test_the_page_on_speed_has_the_times_of_fused_kernels():
    times, found = times_of("card-fused-nvidia-h200"), 0
    for name, method, *cells in rows_of("fused"):
        for cell, seeds in zip(cells, (1, 3), strict=True):
            ways = Way(True, seeds), Way(True, seeds, "triton")
            shown = [times.get(item(name, method, way)) for way in ways]
            assert cell == (" → ".join(f"{each:.3g}" for each in shown) if all(shown) else "–")
            found += 2 * (cell != "–")
    assert found == len([key for key in times if ", graph" in key and "2 seeds" not in key])


def test_the_longest_kernels_come_first():
    from torch.autograd import DeviceType
    from torch.autograd.profiler_util import FunctionEvent

    def event(name, start, end, kind=DeviceType.CUDA):
        return FunctionEvent(0, name, 0, start, end, device_type=kind, is_user_annotation=False)

    events = [
        event("relu", 0, 1000),
        event("gemm", 0, 1500),
        event("gemm", 2000, 3500),
        event("Memcpy HtoD", 0, 9000),
        event("cudaLaunchKernel", 0, 9000, DeviceType.CPU),
    ]
    assert measure.longest(events, 2) == [
        {"kernel": "gemm", "milliseconds": 1.5, "count": 1.0},
        {"kernel": "relu", "milliseconds": 0.5, "count": 0.5},
    ]


def passed_graph_test(record):
    record.add("tests", f"{tests.GRAPHS[0]}[omniglot-5way-1shot-True]", 0.1)


def test_graphs_are_used_where_their_tests_passed(record, setting):
    one = Choice("omniglot-5way-1shot")
    record.add("times", item(one.experiment, "maml", Way()), 9.0)
    record.add("times", item(one.experiment, "maml", Way(graph=True)), 3.0)
    assert training.fastest(setting, one) == (Way(), 9.0)  # they were not tried
    passed_graph_test(record)
    assert training.fastest(setting, one) == (Way(graph=True), 3.0)
    record.fail("tests", f"{tests.GRAPHS[1]}[miniimagenet-5way-1shot-seeds0]", "call: error")
    assert training.fastest(setting, one) == (Way(graph=True), 3.0)
    record.fail("tests", f"{tests.GRAPHS[1]}[omniglot-5way-1shot-seeds0]", "call: error")
    assert training.fastest(setting, one) == (Way(), 9.0)


def test_a_training_is_chosen_that_was_begun_or_fits(record, setting):
    twenty, three, five = training.CHOICES[:3]
    paper = plan.Setting(**{**vars(setting), "overlays": ()})
    assert training.choose(paper, list(training.CHOICES), 10) is None
    assert training.choose(paper, list(training.CHOICES), 300) == twenty  # nothing is known
    for choice, milliseconds in ((twenty, 8.0), (three, 2.0), (five, 3.0)):
        way = Way(seeds=len(choice.seeds))
        record.add("times", item(choice.experiment, "maml", way), milliseconds)
        record.add("times", f"validation {choice.experiment}", 1e-4)
    assert training.estimate(paper, twenty) == pytest.approx(30 + 480 + (36_000 + 2400) * 1e-4)
    assert training.estimate(paper, three) == pytest.approx(30 + 120 + 3 * (36_000 + 12_000) * 1e-4)
    for seconds, chosen in ((600, twenty), (300, three), (100, twenty)):
        assert training.choose(paper, list(training.CHOICES), seconds) == chosen
    record.add("training", twenty.experiment, {})
    assert training.choose(paper, list(training.CHOICES[1:]), 100) is None
    checkpoint = paper.work / "checkpoints" / five.experiment / "maml" / "seed-0" / "a.checkpoint"
    checkpoint.parent.mkdir(parents=True)
    checkpoint.touch()
    assert training.choose(paper, list(training.CHOICES[1:]), 100) == five


def test_the_page_says_which_defaults_to_change(record):
    name = "omniglot-5way-1shot"
    for method in measure.METHODS:
        record.add("times", item(name, method, Way()), 9.0)
        record.add("times", item(name, method, Way(graph=True)), 3.0)
    record.add("times", item(name, "maml", Way(graph=True, seeds=3)), 4.5)
    assert "cuda_graphs`: false; not all tests" in next(page.defaults(record))
    passed_graph_test(record)
    graphs, seeds = page.defaults(record)
    assert graphs == "`runtime.cuda_graphs`: true; as one graph it is 3.00 times as fast."
    assert "3 seeds at once are 2.00 times as fast as one" in seeds
    record.add("times", item("another", "maml", Way()), 9.0)
    record.add("times", item("another", "maml", Way(graph=True)), 6.0)
    assert "is 1.50 to 3.00 times as fast" in next(page.defaults(record))


def test_the_page_says_which_kernels_to_take(record):
    name = "omniglot-5way-1shot"
    record.add("times", item(name, "maml", Way(graph=True)), 3.0)
    record.add("times", item(name, "maml", measure.FUSED), 2.0)
    said = "`runtime.kernels`: {}; with triton a graph is 1.50 times as fast."
    assert said.format("pytorch") in page.defaults(record)  # its tests were not run
    for test in tests.ESSENTIAL["fused kernels"]:
        record.add("tests", f"{test}[pooled-cuda]", 0.1)
    assert said.format("triton") in page.defaults(record)
    record.fail("tests", f"{test}[images-cuda]", "call: error")
    assert said.format("pytorch") in page.defaults(record)


def test_a_simulated_card_times_no_kernels_for_a_gpu(setting):
    timed = [name for name, _ in measure.times(setting)]
    fused = [item("omniglot-5way-1shot", method, measure.FUSED) for method in measure.METHODS]
    assert not set(fused) & set(timed)
    timed = [name for name, _ in measure.times(replace(setting, device="cuda"))]
    assert set(fused) <= set(timed)
    assert fused[0] == "omniglot-5way-1shot, maml, graph, triton"


def test_each_way_is_computed_as_it_says(setting, monkeypatch):
    monkeypatch.setattr(iteration, "iterations", lambda session, thetas: session.job)
    for way in (*measure.ways(), *measure.ways(3), measure.FUSED):
        job = measure.prepared(setting, "omniglot-5way-1shot", "maml", way)
        assert (job.runtime.cuda_graphs, job.runtime.kernels) == (way.graph, way.kernels)
        assert len(job.seeds) == way.seeds


CHILD = """
import pathlib, signal, sys, time
def save(*_):
    time.sleep(float(sys.argv[2]))
    pathlib.Path(sys.argv[1], "saved").touch()
    sys.exit()
signal.signal(signal.SIGTERM, save)
pathlib.Path(sys.argv[1], "ready").touch()
time.sleep(60)
"""
LEADER = "import subprocess, sys; subprocess.run([sys.executable, '-c', *sys.argv[1:]])"


@pytest.mark.parametrize(("needed", "saved"), [(0.5, True), (60, False)])
def test_what_a_step_started_has_time_to_save_and_no_more(tmp_path, monkeypatch, needed, saved):
    """The step itself ends at once; what it started holds the pipe until it has ended, too."""
    if not saved:
        monkeypatch.setattr(card, "GRACE", 0.5)
    process = subprocess.Popen(
        [sys.executable, "-c", LEADER, CHILD, str(tmp_path), str(needed)],
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    with process:
        while not (tmp_path / "ready").exists():
            time.sleep(0.01)
        card._end(process)
        assert (tmp_path / "saved").exists() == saved
        assert process.stdout.read() == b""


def filed(folder, out):
    record = Record(folder / plan.RECORD)
    about = {"processor": "a processor", "versions": {}, "simulated": True}
    record.add("versions", "about", about | {"device": {"name": "A card"}})
    return imported.file_results(folder, out)


def test_what_was_filed_before_is_not_replaced(tmp_path, capsys):
    first = filed(tmp_path / "first", tmp_path / "card")
    assert {path.name for path in first.iterdir()} == {"card.md", plan.RECORD}
    (first / "before").mkdir()
    with pytest.raises(UserError, match=r"card-a-card holds what was filed before; .*card-again"):
        filed(tmp_path / "second", tmp_path / "card")
    assert (first / "before").is_dir()
    assert filed(tmp_path / "second", tmp_path / "card-again").name == "card-again-a-card"


def test_nothing_is_filed_that_does_not_say_its_device(tmp_path, capsys):
    with pytest.raises(SystemExit, match=r"holds no card\.jsonl that says which device"):
        imported.main([str(tmp_path), "--out", str(tmp_path / "card")])
    assert not list(tmp_path.iterdir())


@pytest.fixture
def prepared(tmp_path):
    """The smoke preset's Omniglot, and an overlay that selects one experiment of it."""
    dataset = config.read([ROOT / "config.yaml", SMOKE]).datasets["omniglot"]
    download(dataset, tmp_path / "raw", None)
    prepare("omniglot", dataset, tmp_path / "raw", tmp_path / "data")
    overlay = tmp_path / "one.yaml"
    overlay.write_text("select: {experiments: [omniglot-5way-1shot]}\n", encoding="utf-8")
    return ["--data", str(tmp_path / "data"), "--config", str(SMOKE), str(overlay)]


@pytest.mark.long
def test_a_simulated_card_shows_all_goes_on_and_is_filed(prepared, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(card, "limits", lambda s, steps: dict.fromkeys(plan.SECONDS, s / 4))
    first, second = tmp_path / "first", tmp_path / "second"
    options = ["--device", "simulated", "--seconds", "1500", "--iterations", "30", *prepared]
    card.main(["--out", str(first), *options])
    assert {path.name for path in first.iterdir()} == {plan.RECORD, plan.LOG, plan.TRAINED}
    record = Record(first / plan.RECORD)
    assert not record.failures(), (first / plan.LOG).read_text(encoding="utf-8")
    for step in plan.STEPS:
        assert record.results(step)
    assert record.results("resuming")["bits"]["iterations"] == 30
    trained = record.results("training")

    capsys.readouterr()
    card.main(["--out", str(second), "--previous", str(first), *options])
    assert "results taken over" in capsys.readouterr().out
    again = Record(second / plan.RECORD)
    for step in plan.STEPS[1:]:
        assert again.results(step) == record.results(step)

    imported.main([str(second), "--out", str(tmp_path / "card")])
    [filed] = tmp_path.glob("card-*")
    text = (filed / "card.md").read_text(encoding="utf-8")
    assert "Simulated on a CPU" in text
    networks = [path.parent.name for path in filed.glob("*/*/*/evaluation.csv")]
    assert len(networks) == sum(len(found["seeds"]) for found in trained.values())

    weights = next(filed.glob("*/*/*/best.safetensors"))
    with tarfile.open(second / plan.TRAINED) as archive:
        extract_all(archive, tmp_path / "changed")
    changed = next((tmp_path / "changed").rglob("seed-0/best.safetensors"))
    changed.write_bytes(changed.with_name("last.safetensors").read_bytes() + weights.read_bytes())
    with tarfile.open(second / plan.TRAINED, "w") as archive:
        archive.add(tmp_path / "changed", ".")
    with pytest.raises(SystemExit, match=r"hold trained weights|not what was evaluated"):
        imported.main([str(second), "--out", str(tmp_path / "again")])
