"""The configuration: what is accepted, what each mistake is answered with, and what is derived."""

import copy
import re
from collections import OrderedDict
from pathlib import Path
from typing import get_args

import pytest
from bad_input.configs import FILE, MISSING, ONE_SHOT, RAW, changed
from helpers import ROOT
from hypothesis import given, settings
from hypothesis import strategies as st

from maml.configuration import config as configuration
from maml.configuration.config import check, read
from maml.configuration.consistency import check_run_name
from maml.configuration.overlays import merge, with_values
from maml.configuration.schema import Experiment, VerdictSettings
from maml.files.errors import UserError
from maml.workflow.reference import json_schema


def mistake(raw: dict) -> str:
    with pytest.raises(UserError) as caught:
        check(raw)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_the_file_is_valid_and_selects_the_whole_of_table_1():
    config = read([FILE])
    assert len(config.pairs()) == 16
    assert len(config.jobs()) == 48
    assert config.slugs() == {
        "omniglot-official": "omniglot",
        "miniimagenet-official": "miniimagenet",
    }


def test_an_experiment_is_whole_without_overrides():
    raw = changed(f"experiments/{ONE_SHOT}/meta_batch_size", MISSING)
    raw["overrides"] = {"meta_batch_size": 8}
    missing = f"config: experiments.{ONE_SHOT}.meta_batch_size: this key is missing"
    assert mistake(raw).startswith(missing)


def test_a_variant_is_as_its_base_but_for_what_it_says():
    raw = changed("experiments/new", {"variant_of": ONE_SHOT, "inner_step_size": 0.4})
    raw["overrides"] = {"iterations": 8}
    config = check(raw)
    base, variant = config.experiment(ONE_SHOT), config.experiment("new")
    assert variant == base.model_copy(update={"inner_step_size": 0.4})
    assert variant.iterations == 8


def test_a_variant_follows_its_base_into_another_protocol():
    raw = changed("experiments/new", {"variant_of": ONE_SHOT, "inner_steps": 2})
    config = check(raw | {"protocol": "paper"})
    assert config.experiment("new").inner_step_size == 0.4


def test_validation_classes_are_asked_for_only_by_what_is_probed_on_them():
    raw = changed("datasets/omniglot/classes/val", 0)
    raw["defaults"]["reported_checkpoint"] = "last"
    raw["probe"] = {"split": "val"}
    raw["experiments"]["other"] = {"variant_of": ONE_SHOT, "snapshots": [0]}
    check(raw)  # it is not selected
    raw["select"]["experiments"].append("other")
    assert mistake(raw).startswith("config: probe.split: other keeps snapshots")
    raw["probe"] = {"split": "test"}
    check(raw)


def test_claims_that_may_be_adjusted_are_those_that_ask_whether_they_are():
    asked = {
        int(number)
        for path in (ROOT / "src" / "maml" / "results").glob("*.py")
        for number in re.findall(r"(\d+) in config\.verdict\.adjusted", path.read_text("utf-8"))
    }
    field = VerdictSettings.model_fields["adjusted"]
    assert asked == set(get_args(get_args(field.annotation)[0])) == set(field.default)


def test_an_experiment_may_be_trained_with_some_of_the_methods_and_is_timed_with_all():
    raw = changed("experiments/new", {"variant_of": ONE_SHOT, "methods": ["anil", "fomaml"]})
    raw["select"] |= {"experiments": ["new", ONE_SHOT]}
    raw["experiments"][ONE_SHOT] |= {"methods": ["maml"]}
    raw["cost"] = {"methods": ["reptile"]}
    config = check(raw)
    assert config.pairs() == [("new", "fomaml"), (ONE_SHOT, "maml")]
    assert [(job.experiment, job.method) for job in config.jobs()] == [
        *[("new", "fomaml")] * 3,
        *[(ONE_SHOT, "maml")] * 3,
    ]
    assert [method for name, method in config.timed() if name == "new"] == [
        "maml",
        "fomaml",
        "reptile",
    ]
    assert config.experiment("new") == config.experiment(ONE_SHOT)


def test_a_variant_of_a_variant_is_refused():
    raw = changed("experiments/new", {"variant_of": ONE_SHOT})
    raw["experiments"]["newer"] = {"variant_of": "new"}
    assert mistake(raw) == (
        f"config: experiments.newer.variant_of: 'new' is a variant itself; name {ONE_SHOT!r}, and "
        "say what else differs"
    )


def test_other_mistakes_are_counted():
    raw = changed("run", 1)
    assert "more mistake" not in mistake(raw)
    raw["protocol"] = 1
    assert mistake(raw).endswith("(and 1 more mistake)")
    del raw["mirror"]
    assert mistake(raw).endswith("(and 2 more mistakes)")


def test_methods_that_fit_no_selected_network_are_a_mistake():
    raw = changed("select/methods", ["maml-cut-pooling"])
    raw["select"]["experiments"] = [ONE_SHOT]
    assert mistake(raw) == "config: select: no selected method fits a selected experiment"


@settings(derandomize=True, deadline=None, max_examples=200)
@given(st.data())
def test_no_value_anywhere_makes_it_crash(data):
    """Whatever stands at whatever key, the answer is a configuration or one line."""
    path = [data.draw(st.sampled_from(sorted(RAW)))]
    part = RAW[path[0]]
    while isinstance(part, dict) and part and data.draw(st.booleans()):
        path.append(data.draw(st.sampled_from(sorted(part))))
        part = part[path[-1]]
    scalars = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text())
    value = data.draw(st.one_of(scalars, st.lists(scalars), st.dictionaries(st.text(), scalars)))
    assert_answered(changed("/".join(path), value))


@settings(derandomize=True, deadline=None)
@given(st.text(), st.sampled_from(["select", "experiments", "methods", "overrides"]))
def test_no_key_makes_it_crash(key, part):
    raw = copy.deepcopy(RAW)
    raw[part][key] = {}
    assert_answered(raw)


def assert_answered(raw: dict) -> None:
    message = "config: "
    try:
        check(raw)
    except UserError as error:
        message = str(error)
    assert message.startswith("config: ")
    assert len(message.splitlines()) == 1


def test_overlays_are_merged_key_by_key_in_order(tmp_path):
    first, second = tmp_path / "first.yaml", tmp_path / "second.yaml"
    first.write_text("run: first\noverrides: {iterations: 10, validate_every: 5}\n")
    second.write_text("# only one key\nrun: second\noverrides: {iterations: 20}\n")
    config = read([FILE, first, second])
    assert config.run == "second"
    settings = config.experiment(ONE_SHOT)
    assert (settings.iterations, settings.validate_every) == (20, 5)


def test_an_overlay_of_comments_changes_nothing(tmp_path):
    (tmp_path / "empty.yaml").write_text("# nothing yet\n")
    assert read([FILE, tmp_path / "empty.yaml"]) == read([FILE])


def test_values_of_the_command_line_are_read_as_those_of_a_file():
    given = ["run=mine", "overrides={iterations: 5, rotations: false}", "mirror="]
    config = check(with_values(RAW, given))
    assert (config.run, config.mirror) == ("mine", None)
    assert (config.overrides.iterations, config.overrides.rotations) == (5, False)
    with pytest.raises(UserError, match="--config overrides: line 1: the key 'shots' stands twice"):
        with_values(RAW, ["overrides={shots: 1, shots: 5}"])


@pytest.mark.parametrize(
    "overlay",
    [
        {"overrides": {"iterations": 5}},
        {"protocol": "paper"},
        {"experiments": {ONE_SHOT: {"shots": 2}}},
        {"networks": {"mlp": {"widths": [8]}}},
    ],
)
def test_other_results_need_another_name(overlay):
    [key] = overlay
    with pytest.raises(UserError, match=f"changes {key}, .* in results/paper; give it a name"):
        check_run_name(RAW, merge(RAW, overlay))
    check_run_name(RAW, merge(RAW, overlay | {"run": "mine"}))


@pytest.mark.parametrize(
    "overlay", [{}, {"select": {"seeds": [7]}}, {"runtime": {"device": "cpu"}}, {"mirror": "m"}]
)
def test_how_and_which_results_are_made_needs_no_name(overlay):
    check_run_name(RAW, merge(RAW, overlay))


def test_merging_leaves_both_sides_as_they_were():
    base, overlay = {"a": {"b": [1]}}, {"a": {"c": [2]}}
    merged = merge(base, overlay)
    merged["a"]["b"].append(0)
    merged["a"]["c"].append(0)
    assert (base, overlay) == ({"a": {"b": [1]}}, {"a": {"c": [2]}})


def test_an_experiment_overrides_the_defaults_and_overrides_both():
    raw = changed("defaults/iterations", 1)
    raw["experiments"][ONE_SHOT]["iterations"] = 2
    assert check(raw).experiment(ONE_SHOT).iterations == 2
    assert check(raw).experiment("omniglot-20way-1shot").iterations == 1
    raw["overrides"]["iterations"] = 3
    assert check(raw).experiment(ONE_SHOT).iterations == 3


def test_a_value_can_be_set_back_to_none():
    assert check(RAW).experiment("miniimagenet-5way-1shot").meta_gradient_clip == 10
    raw = changed("overrides/meta_gradient_clip", None)
    assert check(raw).experiment("miniimagenet-5way-1shot").meta_gradient_clip is None


def test_the_protocols_differ_in_the_inner_step_size_by_the_ways():
    """The authors' code takes the printed α on N times the mean loss."""
    code, paper = check(RAW), check(changed("protocol", "paper"))
    for name in RAW["experiments"]:
        ours, printed = code.experiment(name), paper.experiment(name)
        assert ours.inner_step_size == pytest.approx(printed.inner_step_size * ours.ways)
        assert (ours.meta_loss, printed.meta_loss) == ("sum-per-shot", "mean")
        assert printed.meta_gradient_clip is None
        assert printed.reported_checkpoint == "last"
    assert paper.experiment("miniimagenet-5way-5shot").meta_batch_size == 2
    assert paper.datasets["omniglot"].classes.train == 1200


def test_a_protocol_that_is_not_chosen_is_checked_and_changes_nothing():
    raw = changed("protocols/mine", {"defaults": {"iterations": 7}})
    assert check(raw).experiment(ONE_SHOT).iterations == 60_000
    raw["protocol"] = "mine"
    assert check(raw).experiment(ONE_SHOT).iterations == 7


def test_shortenings_are_what_overrides_change():
    raw = changed("overrides", {"iterations": 500, "rotations": True})
    assert check(raw).shortenings(ONE_SHOT) == {"iterations": (60_000, 500)}
    assert check(RAW).shortenings(ONE_SHOT) == {}
    assert check(changed("overrides/snapshots", [0, 100])).shortenings(ONE_SHOT) == {}


def test_a_job_has_all_that_decides_it():
    job = check(RAW).job("miniimagenet-5way-1shot", "fomaml", 2)
    assert (job.experiment, job.method, job.seed) == ("miniimagenet-5way-1shot", "fomaml", 2)
    assert job.gradient.meta_gradient == "first-order"
    assert job.dataset.image_size == 84
    assert job.network.widths == [32, 32, 32, 32]
    assert job.data == "miniimagenet-official"


def test_the_folder_of_a_job_is_where_the_pipeline_puts_it_or_what_is_kept():
    job = check(RAW).job(ONE_SHOT, "maml", 3)
    assert job.folder() == Path("results/paper/runs") / ONE_SHOT / "maml" / "seed-3"
    assert job.folder(Path("kept")) == Path("kept") / ONE_SHOT / "maml" / "seed-3"


def test_an_unknown_job_is_named():
    config = check(RAW)
    for unknown in (
        lambda: config.job("nope", "maml", 0),
        lambda: config.job(ONE_SHOT, "nope", 0),
        lambda: config.experiment("nope"),
    ):
        with pytest.raises(UserError, match="is named 'nope'; there are: "):
            unknown()


def test_a_method_without_the_pooling_derivative_goes_with_pooling_networks_alone():
    config = check(changed("select/methods", ["maml-cut-pooling"]))
    assert config.pairs() == [
        ("miniimagenet-5way-1shot", "maml-cut-pooling"),
        ("miniimagenet-5way-5shot", "maml-cut-pooling"),
    ]


EVALUATION = {"test_tasks", "test_steps", "test_queries"}
SUMMARY = {"reported_step", "reported_queries", "reported_checkpoint"}
LATER = {"snapshots", "further_evaluations"}


def test_each_setting_belongs_to_one_stage():
    job = check(RAW).job(ONE_SHOT, "maml", 0)
    runtime = {"precision", "threads", "task_chunk", "kernels"}
    training, evaluation = set(job.training_settings()), set(job.evaluation_settings())
    assert evaluation == EVALUATION | runtime
    expected = set(Experiment.model_fields) - EVALUATION - SUMMARY - LATER
    expected |= {"seed", "method", "cuda_graphs", "image_shape", "seeds_at_once"} | runtime
    assert training == expected


@pytest.mark.parametrize(
    ("path", "value", "retrains", "evaluates_again"),
    [
        ("overrides/iterations", 7, True, False),
        ("overrides/rotations", False, True, False),
        ("overrides/snapshots", [0, 100], False, False),
        ("runtime/resume", "same-device", False, False),
        ("datasets/omniglot/split_seed", 1, True, False),
        ("networks/omniglot-conv/batch_norm_epsilon", 0.01, True, False),
        ("methods/maml/meta_gradient", "first-order", True, False),
        ("runtime/precision", "float64", True, True),
        ("runtime/threads", 2, True, True),
        ("overrides/test_tasks", 7, False, True),
        ("overrides/reported_step", 7, False, False),
        ("methods/maml/label", "another name", False, False),
        ("methods/maml/paper_row", None, False, False),
        ("datasets/omniglot/source", "bundled", False, False),  # the same images
        ("runtime/device", "cpu", False, False),
        ("runtime/task_chunk", 7, True, True),
        ("runtime/cuda_graphs", False, True, False),
        ("runtime/kernels", "triton", True, True),
        ("runtime/seeds_at_once", 2, True, False),
        ("runtime/gpu_memory_gib", 7.5, False, False),
        ("mirror", "elsewhere", False, False),
        ("run", "another", False, False),
    ],
)
def test_a_change_recomputes_what_it_decides_and_no_more(path, value, retrains, evaluates_again):
    before = check(RAW).job(ONE_SHOT, "maml", 0)
    after = check(changed(path, value)).job(ONE_SHOT, "maml", 0)
    assert (before.training_settings() != after.training_settings()) == retrains
    assert (before.evaluation_settings() != after.evaluation_settings()) == evaluates_again


def test_seeds_are_trained_together_in_the_order_of_their_selection():
    changes = changed("runtime/seeds_at_once", 2) | {
        "select": {**RAW["select"], "seeds": [5, 0, 3]}
    }
    config = check(changes)
    assert config.seed_groups() == [[5, 0], [3]]
    first, second, third = (config.job(ONE_SHOT, "maml", seed) for seed in (5, 0, 3))
    assert (first.seeds, second.seeds, third.seeds) == ([5, 0], [5, 0], [3])
    assert [job.seed for job in second.each()] == [5, 0]
    assert third.training_settings()["seeds_at_once"] == 1
    assert config.job(ONE_SHOT, "maml", 9).seeds == [9]  # of no group
    assert config.job(ONE_SHOT, "maml", 0, seed_group=[0]).seeds == [0]


def test_seeds_retrain():
    config = check(RAW)
    first, second = (config.job(ONE_SHOT, "maml", seed) for seed in (0, 1))
    assert first.training_settings() != second.training_settings()


def test_values_that_snakemake_hands_over_are_accepted():
    assert check(OrderedDict(RAW)) == check(RAW)


def test_every_key_is_described_and_the_schema_knows_its_bounds():
    for place, part in configuration.PLACES.items():
        for key, field in part.model_fields.items():
            about = field.description or getattr(field.annotation, "__doc__", None)
            assert about, f"{place}: {key}"
    schema = json_schema()
    for part in ("Defaults", "Entry", "Overrides"):
        assert schema["$defs"][part]["properties"]["iterations"]["minimum"] == 1
