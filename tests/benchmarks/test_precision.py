"""The emulated precisions, bit by bit, and what is measured with them."""

import math
import re
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
import torch
from helpers import ROOT
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.case import Case
from benchmarks.precision import __main__ as command
from benchmarks.precision import accuracy, evaluation, gradients, page, rounding, states
from benchmarks.precision.rounding import Rounded
from maml.data.download import download
from maml.data.prepare import prepare
from maml.files import paths
from maml.networks.network import initialise
from maml.training import weights

SMOKE = (ROOT / "config.yaml", ROOT / "workflow" / "presets" / "smoke.yaml")
SMALLEST_NORMAL = -126  # exponent of float32, TF32 and bfloat16

aten = torch.ops.aten


def reference(value, bits, rounded=round):
    """Round exactly, to so many bits after the point; Python's ``round`` takes ties to even."""
    value = Fraction(value)
    if value == 0:
        return 0.0
    exponent = max(math.frexp(float(value))[1] - 1, SMALLEST_NORMAL)
    unit = Fraction(2) ** (exponent - bits)
    return float(rounded(value / unit) * unit)


def values():
    generator = torch.Generator().manual_seed(0)
    bits = torch.randint(-(2**31), 2**31, (4000,), generator=generator).to(torch.int32)
    drawn = bits.view(torch.float32)
    unit = 2.0**-10
    odd = [1 + unit / 2, 1 + 3 * unit / 2, -1 - unit / 2, 1 + unit / 2 + 2.0**-23]  # ties, and not
    edges = [0.0, -0.0, 1.0, 1.5, 2 - 2.0**-23, 2.0**-126, 2.0**-149, 2.0**-137, *odd]
    return torch.cat([drawn[drawn.isfinite() & (drawn.abs() < 1e38)], torch.tensor(edges)])


@pytest.mark.parametrize(
    ("function", "bits", "rounded"),
    [
        (rounding.tf32, 10, round),
        (rounding.tf32_truncated, 10, math.trunc),
        (rounding.bf16, 7, round),
    ],
)
def test_values_are_rounded_to_the_bit(function, bits, rounded):
    x = values()
    expected = [reference(value, bits, rounded) for value in x.tolist()]
    assert function(x).tolist() == expected
    assert (function(function(x)) == function(x)).all()


@pytest.mark.parametrize("function", [rounding.tf32, rounding.tf32_truncated, rounding.bf16])
def test_what_is_not_finite_stays_so_and_the_factor_is_not_changed(function):
    x = torch.tensor([math.inf, -math.inf, math.nan, -math.nan, 1 + 2.0**-20])
    before = x.clone()
    assert function(x)[:2].tolist() == [math.inf, -math.inf]
    assert function(x)[2:4].isnan().all()
    assert x[4] == before[4] != function(x)[4]


def test_tf32_rounds_beyond_its_largest_number_to_infinity():
    assert rounding.tf32(torch.tensor(torch.finfo(torch.float32).max)) == math.inf


def factors(*shapes):
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(shape, generator=generator) for shape in shapes]


def convolution_backward(g, x, w):
    one, none = [1, 1], [0, 0]
    return aten.convolution_backward(
        g, x, w, None, one, one, one, False, none, 1, [True, True, False]
    )[:2]


PRODUCTS = {
    "mm": (lambda onto, x, w: x @ w, (3, 5), (4, 5), (5, 3)),
    "bmm": (lambda onto, x, w: torch.bmm(x, w), (2, 4, 3), (2, 4, 5), (2, 5, 3)),
    "addmm": (lambda onto, x, w: torch.addmm(onto, x, w, alpha=-2), (4, 3), (4, 5), (5, 3)),
    "addmm_": (lambda onto, x, w: onto.clone().addmm_(x, w), (4, 3), (4, 5), (5, 3)),
    "baddbmm": (
        lambda onto, x, w: torch.baddbmm(onto, x, w, alpha=-2),
        *((2, 4, 3), (2, 4, 5), (2, 5, 3)),
    ),
    "baddbmm_": (lambda onto, x, w: onto.clone().baddbmm_(x, w), (2, 4, 3), (2, 4, 5), (2, 5, 3)),
    "conv2d": (
        lambda onto, x, w: torch.nn.functional.conv2d(x, w, padding=1),
        *((1,), (2, 3, 6, 6), (4, 3, 3, 3)),
    ),
}


@pytest.mark.parametrize("name", PRODUCTS)
def test_a_product_rounds_its_factors_and_not_what_it_is_added_to(name):
    product, *shapes = PRODUCTS[name]
    onto, x, w = factors(*shapes)
    with Rounded(rounding.tf32):
        found = product(onto, x, w)
    assert torch.equal(found, product(onto, rounding.tf32(x), rounding.tf32(w)))
    assert not torch.equal(found, product(onto, x, w))


@pytest.mark.parametrize("name", PRODUCTS)
def test_with_rounded_results_a_product_is_bfloat16s_own(name):
    product, *shapes = PRODUCTS[name]
    onto, x, w = factors(*shapes)
    with Rounded(rounding.bf16, rounding.bf16):
        found = product(onto, x, w)
        alone = product(torch.zeros_like(onto), x, w)
    bare = product(torch.zeros_like(onto).bfloat16(), x.bfloat16(), w.bfloat16()).float()
    # Sums in another order may round to the neighbour.
    torch.testing.assert_close(alone, bare, rtol=2.0**-7, atol=2.0**-7)
    if name.startswith(("addmm", "baddbmm")):
        torch.testing.assert_close(found, onto + alone)  # in float32


def test_both_gradients_of_a_convolution_round_their_factors():
    tensors = factors((2, 4, 6, 6), (2, 3, 6, 6), (4, 3, 3, 3))
    with Rounded(rounding.tf32):
        found = convolution_backward(*tensors)
    expected = convolution_backward(*(rounding.tf32(tensor) for tensor in tensors))
    assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))
    with Rounded(rounding.bf16, rounding.bf16):
        assert all(
            torch.equal(part, rounding.bf16(part)) for part in convolution_backward(*tensors)
        )


def test_float64_and_what_is_no_product_stay():
    x, w = factors((4, 5), (5, 3))
    with Rounded(rounding.tf32):
        product, total, multiplied = x.double() @ w.double(), x.sum(), x * x
    assert torch.equal(product, x.double() @ w.double())
    assert torch.equal(total, x.sum())
    assert torch.equal(multiplied, x * x)


def test_a_product_that_is_not_known_is_an_error(monkeypatch):
    monkeypatch.delitem(rounding.FACTORS, aten.mm)
    x, w = factors((4, 5), (5, 3))
    with Rounded(rounding.tf32), pytest.raises(LookupError, match=r"aten\.mm.* FACTORS"):
        x @ w


@pytest.mark.parametrize("experiment", ["omniglot-5way-1shot", "miniimagenet-5way-1shot"])
def test_a_gradient_is_further_from_float64s_the_fewer_bits_it_has(experiment):
    session = Case(experiment, "maml", files=SMOKE).session("train", torch.float32)
    (initial,) = list(states.states(session, (0,)))[:1]
    method = session.job.gradient
    rows = pd.DataFrame(gradients.compare(session, {"maml": method}, initial.theta, range(2)))
    assert len(rows) == 2 * (len(gradients.MEASURED) + 1)
    of = rows.groupby("precision")[["deviation", "cosine"]].median()
    order = ["float32", "tf32", "bf16"]
    assert of.loc[order, "deviation"].is_monotonic_increasing
    assert of.loc[order, "cosine"].is_monotonic_decreasing
    assert of.loc["float32", "deviation"] < 1e-3


def test_every_product_of_a_meta_gradient_is_rounded():
    session = Case("miniimagenet-5way-1shot", "maml", files=SMOKE).session("train", torch.float32)
    (initial,) = list(states.states(session, (0,)))[:1]
    rounded = []

    def count(x):
        rounded.append(x)
        return x

    def gradient():
        return gradients._gradient(session, session.job.gradient, initial.theta, 0)

    exact = gradient()
    with Rounded(count):
        found = gradient()
    assert all(torch.equal(found[name], exact[name]) for name in exact)
    with FlopCounterMode(display=False) as counter:
        gradient()
    kinds = counter.get_flop_counts()["Global"]
    assert {aten.convolution, aten.convolution_backward, aten.bmm} <= kinds.keys()
    assert kinds.keys() <= rounding.FACTORS.keys()
    assert len(rounded) > 2 * len(kinds)


def test_training_goes_on_from_the_weights_of_before():
    session = Case("omniglot-5way-1shot", "maml", files=SMOKE).session("train", torch.float32)
    initial, *_ = ({k: v.clone() for k, v in s.theta.items()} for s in states.states(session, (0,)))
    after = list(states.states(session, (0, 2)))
    assert [(state.name, state.iteration) for state in after] == [
        ("initial", 0),
        ("after 2 iterations", 2),
    ]
    assert not torch.equal(after[1].theta["head.weight"], initial["head.weight"])


def test_the_same_weights_are_evaluated_on_the_same_tasks():
    session = Case("omniglot-5way-1shot", "maml", files=SMOKE).session("test", torch.float32)
    theta = initialise(session.job.network, (1, 28, 28), session.job.settings.ways, 0)
    rows = pd.DataFrame(evaluation.compare(session, theta, 6)).set_index("precision")
    assert rows.index.tolist() == ["float32", *rounding.EMULATED]
    assert rows.loc["float32", "difference"] == rows.loc["float32", "of_tasks"] == 0
    np.testing.assert_allclose(
        rows["accuracy"] - rows.loc["float32", "accuracy"], rows["difference"]
    )


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    overlay = folder / "one.yaml"
    overlay.write_text(
        "select: {experiments: [omniglot-5way-1shot], methods: [maml], seeds: [3]}\n"
        "overrides: {iterations: 2, validation_tasks: 2, test_tasks: 2}\n"
    )
    files = (*SMOKE, overlay)
    config = accuracy.configured("float32", files)
    dataset, slug = config.datasets["omniglot"], config.data_slug("omniglot")
    download(dataset, folder / "raw", None)
    prepare("omniglot", dataset, folder / "raw", folder / "data" / slug)
    accuracy.train_all(folder / "work", folder / "data", files)
    return folder, files


def test_each_precision_is_trained_apart_and_compared_with_float32(trained):
    folder, files = trained
    for _, of in accuracy.table(folder / "work", files).groupby("checkpoint"):
        by_name = of.set_index("precision")
        assert by_name.index.tolist() == list(accuracy.TRAINED)
        assert by_name.loc["float32", "difference"] == 0
        difference = by_name["accuracy"] - by_name.loc["float32", "accuracy"]
        np.testing.assert_allclose(by_name["difference"], difference, atol=1e-9)
    run = paths.training_folder(paths.runs("smoke"), "omniglot-5way-1shot", "maml", 3)
    heads = [
        weights.load(folder / "work" / name / run / "last.safetensors").theta["head.weight"]
        for name in accuracy.TRAINED
    ]
    assert all(not torch.equal(heads[0], head) for head in heads[2:])  # TF32, bfloat16


def test_what_is_trained_is_not_trained_again(trained, monkeypatch):
    folder, files = trained
    monkeypatch.setattr(accuracy, "train", pytest.fail)
    accuracy.train_all(folder / "work", folder / "data", files)


def test_the_command_measures_once_and_writes_what_there_is(trained, tmp_path, monkeypatch):
    folder, files = trained
    name = "omniglot-5way-1shot"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(command, "FILES", files)
    for constant, value in (("ITERATIONS", (0,)), ("META_BATCHES", 1), ("TEST_TASKS", 2)):
        monkeypatch.setitem(getattr(command, constant), name, value)
    arguments = ["--parts", name, "--data", str(folder / "data"), "--out", "out"]
    command.main(arguments)
    first = {file.name: file.read_bytes() for file in (tmp_path / "out").iterdir()}
    assert first.keys() == {"about.json", "precision.md", "gradients.csv", "evaluation.csv"}
    assert len(pd.read_csv("out/gradients.csv")) == 2 * (len(gradients.MEASURED) + 1)
    monkeypatch.setattr(gradients, "compare", pytest.fail)
    command.main(arguments)
    assert {file.name: file.read_bytes() for file in (tmp_path / "out").iterdir()} == first


def test_results_of_another_kind_are_not_replaced(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(command, "_measure", pytest.fail)
    (tmp_path / "benchmark.md").touch()
    with pytest.raises(SystemExit, match=r"would be replaced, .* \(a folder with precision\.md\)"):
        command.main(["--out", str(tmp_path)])
    assert (tmp_path / "benchmark.md").is_file()


def test_the_page_shows_what_was_measured_alone(tmp_path):
    (tmp_path / "about.json").write_text(
        '{"processor": "a CPU", "cores": 2, "versions": {"torch": "2"}}'
    )
    keys = {"experiment": "e", "weights": "initial", "method": "maml"}
    pd.DataFrame(
        [
            {**keys, "precision": "tf32", "meta_batch": n, "deviation": d, "cosine_clipped": 1 - d}
            for n, d in enumerate((0.1, 0.2, 0.4))
        ]
    ).to_csv(tmp_path / "gradients.csv", index=False)
    row = {"experiment": "e", "weights": "initial", "tasks": 9, "accuracy": 50, "difference": 0}
    pd.DataFrame(
        [
            {**row, "precision": "tf32", "of_tasks": 0},
            {**row, "precision": "bf16", "of_tasks": 0.3},
        ]
    ).to_csv(tmp_path / "evaluation.csv", index=False)
    page.write(tmp_path)
    text = (tmp_path / "precision.md").read_text()
    assert "0.2 (0.4)" in text
    assert "0.800 (0.600)" in text
    assert re.findall(r"(TF32|bfloat16) +\| 50.00 +\| (.*?) +\|", text) == [
        ("TF32", "same answers"),
        ("bfloat16", "+0.00 ± 0.30"),
    ]
    assert "Trained in each precision" not in text
