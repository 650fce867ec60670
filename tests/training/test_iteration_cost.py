"""Counted arithmetic and memory, against what is known of the work."""

import json

import pandas as pd
import pytest
import torch
from helpers import ROOT

from maml.configuration import config as configuration
from maml.configuration.overlays import load
from maml.training.iteration_cost import COLUMNS, count, measure, write_cost


def test_arithmetic_and_memory_of_known_work():
    left, right = torch.rand(10, 20), torch.rand(20, 30)

    def work():
        product = left @ right  # 2 · 10 · 20 · 30 FLOP, 10 · 30 floats
        more = product + 1
        del product
        return more * 2  # beside `more`, in place of `product`

    assert count(work) == (12_000, 2 * 10 * 30 * 4)


def test_views_and_what_is_computed_in_place_take_no_memory():
    def work():
        values = torch.zeros(1000)
        return values.view(10, 100).add_(1).T

    assert count(work) == (0, 4000)


def test_methods_take_turns_and_full_maml_takes_more(tmp_path):
    files = [ROOT / "config.yaml", ROOT / "workflow" / "presets" / "smoke.yaml"]
    settings = configuration.read(files)
    write_cost(settings, 2, tmp_path / "iteration.csv")
    head, _, _ = (tmp_path / "iteration.csv").read_text().partition("\n")
    origin = json.loads(head.removeprefix("# "))
    assert origin["rounds"] == 2
    assert origin["device"].startswith("cpu: ")
    table = pd.read_csv(tmp_path / "iteration.csv", comment="#")
    assert list(table.columns) == COLUMNS
    assert len(table) == 2 * len(settings.pairs())
    for experiment, rows in table.groupby("experiment"):
        assert list(rows["method"]) == ["maml", "fomaml"] * 2, experiment
        whole = rows.groupby("method")["flop"].first()
        assert whole["maml"] > whole["fomaml"] > 0
        assert (rows["seconds"] > 0).all()


def test_variants_and_methods_that_are_only_timed_take_turns_with_the_others(tmp_path):
    raw = load([ROOT / "config.yaml", ROOT / "workflow" / "presets" / "smoke.yaml"])
    raw["experiments"]["variant"] = {"variant_of": "omniglot-5way-1shot"}
    raw["select"] |= {"experiments": ["omniglot-5way-1shot", "variant"], "methods": ["maml"]}
    raw["cost"] = {"methods": ["maml-dropout", "maml"]}
    settings = configuration.check(raw)
    write_cost(settings, 2, tmp_path / "iteration.csv")
    table = pd.read_csv(tmp_path / "iteration.csv", comment="#")
    arms = [
        (experiment, method)
        for experiment in ("omniglot-5way-1shot", "variant")
        for method in ("maml", "maml-dropout")
    ]
    assert list(zip(table["experiment"], table["method"], strict=True)) == arms * 2
    assert list(table["round"]) == [0] * 4 + [1] * 4
    assert [job.method for job in settings.jobs()] == ["maml"] * 4  # two experiments, two seeds


def test_one_inner_step_of_full_maml_costs_two_more_passes():
    """Forward and backward of support and query; then a second pass of the support's both.

    A backward pass takes twice a forward one, but for the first layer, which has no gradient of
    its input, and for the head, which is small: so between 3/2 and 2 of first-order's.
    """
    settings = configuration.read([ROOT / "config.yaml"])
    flop = {}
    for method in ("maml", "fomaml"):
        job = settings.job("omniglot-5way-1shot-mlp", method, 0)
        [row] = measure([job], torch.device("cpu"), 1)
        flop[method] = row["flop"]
    assert 1.5 < flop["maml"] / flop["fomaml"] < 2


@pytest.mark.parametrize("seeds", [1, 3])
def test_the_trainings_of_other_seeds_are_not_measured_along(tmp_path, seeds):
    files = [ROOT / "config.yaml", ROOT / "workflow" / "presets" / "smoke.yaml"]
    raw = load(files)
    raw["runtime"]["seeds_at_once"] = seeds
    raw["select"] |= {"experiments": ["omniglot-5way-1shot"], "methods": ["maml"]}
    write_cost(configuration.check(raw), 1, tmp_path / f"{seeds}.csv")
    table = pd.read_csv(tmp_path / f"{seeds}.csv", comment="#")
    raw["runtime"]["seeds_at_once"] = 1
    write_cost(configuration.check(raw), 1, tmp_path / "alone.csv")
    alone = pd.read_csv(tmp_path / "alone.csv", comment="#")
    assert table["flop"].tolist() == alone["flop"].tolist()
