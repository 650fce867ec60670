"""The configuration: what is accepted, what each mistake is answered with, and what is derived."""

import copy
from collections import OrderedDict
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from maml import config as configuration
from maml.config import Experiment, check, merge, read
from maml.errors import UserError

FILE = Path(__file__).parents[1] / "config.yaml"
RAW = yaml.safe_load(FILE.read_text(encoding="utf-8"))
ONE_SHOT = "omniglot-5way-1shot"


def changed(path: str, value: object) -> dict:
    """Return config.yaml's content with the key at ``path`` (``a/b/c``) set to ``value``."""
    raw = copy.deepcopy(RAW)
    *parents, last = path.split("/")
    part = raw
    for key in parents:
        part = part[key]
    part[last] = value
    return raw


def without(path: str) -> dict:
    raw = copy.deepcopy(RAW)
    *parents, last = path.split("/")
    part = raw
    for key in parents:
        part = part[key]
    del part[last]
    return raw


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


# One row for each kind of mistake: what is set, and the message after "config: ".
MISTAKES = [
    ("run", 2024, "run: must be a valid string, not 2024 (put it in quotes)"),
    ("run", "a/b", "run: must be a name of letters"),
    ("run", None, "run: must be a valid string, not null"),
    ("experimentz", {}, "experimentz: unknown key; did you mean 'experiments'?"),
    ("shots", 5, "shots: unknown key; 'shots' belongs in defaults, experiments.<name> or override"),
    ("defaults/iterationz", 5, "defaults.iterationz: unknown key; did you mean 'iterations'?"),
    ("defaults/iterations", "5", "defaults.iterations: must be a valid integer, not '5'"),
    ("defaults/iterations", 5.5, "defaults.iterations: must be a valid integer, not 5.5"),
    ("defaults/iterations", True, "defaults.iterations: must be a valid integer, not true"),
    ("defaults/iterations", 0, "defaults.iterations: must be greater than or equal to 1, not 0"),
    (
        "defaults/meta_step_size",
        "1e-3",
        "defaults.meta_step_size: must be a valid number, not '1e-3' (in YAML write 1.0e-3",
    ),
    ("defaults/meta_step_size", "fast", "defaults.meta_step_size: must be a valid number, not"),
    ("defaults/meta_step_size", float("inf"), "defaults.meta_step_size: must be a finite number"),
    ("defaults/meta_loss", "sum", "defaults.meta_loss: must be 'mean' or 'sum-per-shot', not"),
    ("defaults/test_queries", 5, "defaults.test_queries: must be a list, not 5"),
    ("overrides", None, "overrides: must be a mapping of keys to values, not null"),
    ("overrides/ways", 1, "overrides.ways: must be greater than or equal to 2, not 1"),
    ("select/experiments", [], "select.experiments: must not be empty"),
    ("select/experiments", ["nope"], "select.experiments: 'nope' is not one of: omniglot-5way"),
    ("select/methods", ["MAML"], "select.methods: 'MAML' is not one of: maml, fomaml"),
    ("select/methods", ["maml", "maml"], "select.methods: maml is listed twice"),
    ("select/seeds", [0, -1], "select.seeds.1: must be greater than or equal to 0, not -1"),
    ("protocol", "papr", "protocol: 'papr' is not one of: code, paper"),
    ("protocols/paper", "x", "protocols.paper: must be a mapping"),
    ("protocols/paper/defaults/shot", 1, "protocols.paper.defaults.shot: unknown key; did you"),
    ("protocols/code", {}, "protocols.code: the file itself is `code`"),
    ("experiments/..", {}, "experiments...: must be a name"),
    ("experiments/new", {"dataset": "omniglot"}, "experiments.new.network: this key is missing"),
    (f"experiments/{ONE_SHOT}/dataset", "o", f"experiments.{ONE_SHOT}.dataset: 'o' is not one of"),
    (f"experiments/{ONE_SHOT}/network", "n", f"experiments.{ONE_SHOT}.network: 'n' is not one of"),
    ("overrides/network", "n", "overrides.network: 'n' is not one of"),
    ("overrides/shots", 20, f"experiments.{ONE_SHOT}.train_queries: 20 shots and 1 queries are"),
    ("overrides/train_queries", 20, "overrides.train_queries: 1 shots and 20 queries are more"),
    (
        f"experiments/{ONE_SHOT}/test_queries",
        [1, 20],
        f"experiments.{ONE_SHOT}.test_queries: 1 shots and 20 queries are more than the 20 images",
    ),
    (f"experiments/{ONE_SHOT}/test_queries", [1, 1], f"experiments.{ONE_SHOT}.test_queries: 1 is"),
    (
        "datasets/omniglot/classes/val",
        3,
        f"experiments.{ONE_SHOT}.ways: 5 ways are more than the 3 classes of "
        "datasets.omniglot.classes.val",
    ),
    (
        "overrides/test_steps",
        2,
        f"experiments.{ONE_SHOT}.reported_step: step 3 is beyond the last one, 2 "
        "(overrides.test_steps)",
    ),
    ("overrides/reported_queries", 3, "overrides.reported_queries: 3 is not one of [1, 15]"),
    ("datasets/omniglot/classes/val", 0, "defaults.reported_checkpoint: 'best' needs validation"),
    ("datasets/miniimagenet/source", "bundled", "datasets.miniimagenet.source: only Omniglot is"),
    ("networks/mlp/downsampling", "stride", "networks.mlp.downsampling: conv networks need"),
    (
        "networks/mlp/head_initialisation",
        {"distribution": "normal"},
        "networks.mlp.head_initialisation: normal distributions need a standard_deviation",
    ),
    (
        "networks/miniimagenet-conv/widths",
        [32] * 7,
        "networks.miniimagenet-conv.widths: 7 poolings leave nothing of 84 pixels",
    ),
    ("networks/mlp/widths", [256, 0], "networks.mlp.widths.1: must be greater than or equal to 1"),
]


@pytest.mark.parametrize(("path", "value", "expected"), MISTAKES)
def test_a_mistake_is_one_line_that_names_the_key(path, value, expected):
    assert mistake(changed(path, value)).startswith(f"config: {expected}")


@pytest.mark.parametrize("key", ["run", "select", "runtime/threads", "datasets/omniglot/classes"])
def test_a_missing_key_is_named(key):
    assert mistake(without(key)).startswith(f"config: {key.replace('/', '.')}: this key is missing")


def test_an_experiment_is_whole_without_overrides():
    raw = without(f"experiments/{ONE_SHOT}/meta_batch_size")
    raw["overrides"] = {"meta_batch_size": 8}
    missing = f"config: experiments.{ONE_SHOT}.meta_batch_size: this key is missing"
    assert mistake(raw).startswith(missing)


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


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (None, "cannot be read: [Errno 2] No such file"),
        ("a: [1", "cannot be read: while parsing a flow sequence"),
        (b"\xff\xfe\xfa", "cannot be read: "),
        ("- 1", "is not a mapping"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(tmp_path, content, expected):
    path = tmp_path / "mine.yaml"
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(UserError) as caught:
        read([FILE, path])
    assert str(caught.value).startswith(f"the configuration {path} ")
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


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


def test_a_job_has_all_that_decides_it():
    job = check(RAW).job("miniimagenet-5way-1shot", "fomaml", 2)
    assert (job.experiment, job.method, job.seed) == ("miniimagenet-5way-1shot", "fomaml", 2)
    assert job.gradient.second_derivatives is False
    assert job.dataset.image_size == 84
    assert job.network.widths == [32, 32, 32, 32]
    assert job.data == "miniimagenet-official"


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


def test_each_setting_belongs_to_one_stage():
    job = check(RAW).job(ONE_SHOT, "maml", 0)
    runtime = {"precision", "threads", "task_chunk"}
    training, evaluation = set(job.training_settings()), set(job.evaluation_settings())
    assert evaluation == EVALUATION | runtime
    expected = set(Experiment.model_fields) - EVALUATION - SUMMARY | {"seed", "method"} | runtime
    assert training == expected


@pytest.mark.parametrize(
    ("path", "value", "retrains", "evaluates_again"),
    [
        ("overrides/iterations", 7, True, False),
        ("overrides/rotations", False, True, False),
        ("datasets/omniglot/split_seed", 1, True, False),
        ("networks/omniglot-conv/batch_norm_epsilon", 0.01, True, False),
        ("methods/maml/second_derivatives", False, True, False),
        ("runtime/precision", "float64", True, True),
        ("runtime/threads", 2, True, True),
        ("overrides/test_tasks", 7, False, True),
        ("overrides/reported_step", 7, False, False),
        ("methods/maml/label", "another name", False, False),
        ("methods/maml/paper_row", None, False, False),
        ("datasets/omniglot/source", "bundled", False, False),  # the same images
        ("runtime/device", "cpu", False, False),
        ("runtime/task_chunk", 7, True, True),
        ("mirror", "elsewhere", False, False),
        ("run", "another", False, False),
    ],
)
def test_a_change_recomputes_what_it_decides_and_no_more(path, value, retrains, evaluates_again):
    before = check(RAW).job(ONE_SHOT, "maml", 0)
    after = check(changed(path, value)).job(ONE_SHOT, "maml", 0)
    assert (before.training_settings() != after.training_settings()) == retrains
    assert (before.evaluation_settings() != after.evaluation_settings()) == evaluates_again


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
    schema = configuration.json_schema()
    for part in ("Defaults", "Entry", "Overrides"):
        assert schema["$defs"][part]["properties"]["iterations"]["minimum"] == 1
