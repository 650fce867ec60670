"""The configuration (every command, before anything runs)."""

import copy
from pathlib import Path

import yaml
from helpers import ROOT

from bad_input.case import Case, Meet, Place, collector
from maml.configuration.config import check, read

CASES, case = collector()

FILE = ROOT / "config.yaml"
RAW = yaml.safe_load(FILE.read_text(encoding="utf-8"))
ONE_SHOT = "omniglot-5way-1shot"
MISSING = object()


def changed(path: str, value: object) -> dict:
    """Return config.yaml's content with the key at ``path`` (``a/b/c``) set, or left out."""
    raw = copy.deepcopy(RAW)
    *parents, last = path.split("/")
    part = raw
    for key in parents:
        part = part[key]
    part[last] = value
    if value is MISSING:
        del part[last]
    return raw


# One row for each kind of mistake: what is set where, and the message after "config: ".
MISTAKES = [
    ("run", 2024, "run: must be a valid string, not 2024 (put it in quotes)"),
    (
        "run",
        "a/b",
        "run: must be a name of letters, digits, '.', '_' and '-' that starts with a letter or "
        "digit, not 'a/b'",
    ),
    ("run", None, "run: must be a valid string, not null"),
    (
        "mirror",
        "https://user:secret@mirror.example",
        "mirror: it has a name or a password, which results/<run>/config.yaml would have, too, for "
        "all who see the results; give it in MAML_MIRROR",
    ),
    ("experimentz", {}, "experimentz: unknown key; did you mean 'experiments'?"),
    (
        "shots",
        5,
        "shots: unknown key; 'shots' belongs in defaults, experiments.<name> or overrides",
    ),
    ("defaults/iterationz", 5, "defaults.iterationz: unknown key; did you mean 'iterations'?"),
    ("defaults/iterations", "5", "defaults.iterations: must be a valid integer, not '5'"),
    ("defaults/iterations", 5.5, "defaults.iterations: must be a valid integer, not 5.5"),
    ("defaults/iterations", True, "defaults.iterations: must be a valid integer, not true"),
    ("defaults/iterations", 0, "defaults.iterations: must be greater than or equal to 1, not 0"),
    (
        "defaults/meta_step_size",
        "1e-3",
        "defaults.meta_step_size: must be a valid number, not '1e-3'",
    ),
    (
        "defaults/meta_step_size",
        "fast",
        "defaults.meta_step_size: must be a valid number, not 'fast'",
    ),
    (
        "defaults/meta_step_size",
        float("inf"),
        "defaults.meta_step_size: must be a finite number, not inf",
    ),
    (
        "defaults/meta_step_size",
        1.0e38,
        "defaults.meta_step_size: must be less than 1000000000000000000000000000000, not 1e+38",
    ),
    (
        "defaults/meta_loss",
        "sum",
        "defaults.meta_loss: must be 'mean' or 'sum-per-shot', not 'sum'",
    ),
    ("defaults/test_queries", 5, "defaults.test_queries: must be a list, not 5"),
    ("overrides", None, "overrides: must be a mapping of keys to values, not null"),
    ("overrides/ways", 1, "overrides.ways: must be greater than or equal to 2, not 1"),
    ("select/experiments", [], "select.experiments: must not be empty"),
    (
        "select/experiments",
        ["nope"],
        "select.experiments: 'nope' is not one of: omniglot-5way-1shot, …",
    ),
    (
        "cost",
        {"methods": ["MAML"]},
        "cost.methods: 'MAML' is not one of: maml, fomaml, …",
    ),
    (
        "select/methods",
        ["MAML"],
        "select.methods: 'MAML' is not one of: maml, fomaml, …",
    ),
    ("select/methods", ["maml", "maml"], "select.methods: maml is listed twice"),
    (
        "methods/maml/second_derivatives",
        True,
        "methods.maml.second_derivatives: true is called `meta_gradient: full` now",
    ),
    (
        "methods/maml-dropout/gradient_dropout/rate",
        1.0,
        "methods.maml-dropout.gradient_dropout.rate: must be less than 1, not 1.0",
    ),
    ("select/seeds", [0, -1], "select.seeds.1: must be greater than or equal to 0, not -1"),
    ("protocol", "papr", "protocol: 'papr' is not one of: code, paper"),
    ("protocols/paper", "x", "protocols.paper: must be a mapping of keys to values, not 'x'"),
    (
        "protocols/paper/defaults/shot",
        1,
        "protocols.paper.defaults.shot: unknown key; did you mean 'shots'?",
    ),
    ("protocols/code", {}, "protocols.code: the file itself is `code`; name this otherwise"),
    (
        "experiments/..",
        {},
        "experiments...: must be a name of letters, digits, '.', '_' and '-' that starts with a "
        "letter or digit, not '..'",
    ),
    (
        "experiments/new",
        {"dataset": "omniglot"},
        "experiments.new.network: this key is missing (and 9 more mistakes)",
    ),
    (
        "experiments/new",
        {"variant_of": "o"},
        "experiments.new.variant_of: 'o' is not one of: omniglot-5way-1shot, …",
    ),
    (
        f"experiments/{ONE_SHOT}/methods",
        ["MAML"],
        f"experiments.{ONE_SHOT}.methods: 'MAML' is not one of: maml, fomaml, …",
    ),
    (
        f"experiments/{ONE_SHOT}/methods",
        ["maml", "maml"],
        f"experiments.{ONE_SHOT}.methods: maml is listed twice",
    ),
    (
        f"experiments/{ONE_SHOT}/methods",
        [],
        f"experiments.{ONE_SHOT}.methods: must not be empty",
    ),
    (
        f"experiments/{ONE_SHOT}/methods",
        ["anil"],
        f"experiments.{ONE_SHOT}.methods: none of anil is in select.methods, so nothing would be "
        "trained; select one, or leave the experiment out of select.experiments",
    ),
    (
        "defaults/variant_of",
        ONE_SHOT,
        "defaults.variant_of: unknown key; 'variant_of' belongs in experiments.<name>",
    ),
    (
        "experiments/new",
        {"variant_of": ONE_SHOT, "reported_queries": 5},
        "experiments.new.reported_queries: 5 is not one of [1, 15] "
        f"(experiments.{ONE_SHOT}.test_queries)",
    ),
    (
        f"experiments/{ONE_SHOT}/dataset",
        "o",
        f"experiments.{ONE_SHOT}.dataset: 'o' is not one of: omniglot, miniimagenet",
    ),
    (
        f"experiments/{ONE_SHOT}/network",
        "n",
        f"experiments.{ONE_SHOT}.network: 'n' is not one of: omniglot-conv, miniimagenet-conv, mlp",
    ),
    (
        "overrides/network",
        "n",
        "overrides.network: 'n' is not one of: omniglot-conv, miniimagenet-conv, mlp",
    ),
    (
        "overrides/shots",
        20,
        f"experiments.{ONE_SHOT}.train_queries: 20 shots and 1 queries are more than the 20 "
        "images of a class (datasets.omniglot.images_per_class)",
    ),
    (
        "overrides/train_queries",
        20,
        "overrides.train_queries: 1 shots and 20 queries are more than the 20 images of a class "
        "(datasets.omniglot.images_per_class)",
    ),
    (
        f"experiments/{ONE_SHOT}/test_queries",
        [1, 20],
        f"experiments.{ONE_SHOT}.test_queries: 1 shots and 20 queries are more than the 20 "
        "images of a class (datasets.omniglot.images_per_class)",
    ),
    (
        f"experiments/{ONE_SHOT}/test_queries",
        [1, 1],
        f"experiments.{ONE_SHOT}.test_queries: 1 is listed twice",
    ),
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
    (
        "overrides/reported_queries",
        3,
        "overrides.reported_queries: 3 is not one of [1, 15] "
        f"(experiments.{ONE_SHOT}.test_queries)",
    ),
    (
        "datasets/omniglot/classes/val",
        0,
        "defaults.reported_checkpoint: 'best' needs validation classes, and "
        "datasets.omniglot.classes.val is 0; say 'last'",
    ),
    (
        "baselines",
        {"iterations": 500},
        "baselines.validate_every: 1000 updates are more than there are (baselines.iterations: "
        "500), so no weights could be chosen",
    ),
    (
        "methods/baselines",
        {"label": "Mine", "meta_gradient": "full"},
        "methods.baselines: what is measured of the baselines lies in a folder of that name, "
        "beside those of the methods; name the method otherwise",
    ),
    ("verdict/adjusted", [2, 3], "verdict.adjusted.1: must be 2, 5, 6 or 8, not 3"),
    ("verdict/adjusted", [2, 5, 2], "verdict.adjusted: 2 is listed twice"),
    (
        "datasets/miniimagenet/source",
        "bundled",
        "datasets.miniimagenet.source: only Omniglot is bundled; say 'official' or 'synthetic'",
    ),
    (
        "networks/mlp/downsampling",
        "stride",
        "networks.mlp.downsampling: conv networks need 'stride' or 'max-pool', an mlp 'none'",
    ),
    (
        "networks/mlp/padding",
        "symmetric",
        "networks.mlp.padding: it matters where convolutions have a stride, and so only with "
        "`downsampling: stride`; leave it out",
    ),
    (
        "networks/mlp/head_initialisation",
        {"distribution": "normal"},
        "networks.mlp.head_initialisation: normal distributions need a standard_deviation, "
        "xavier and he have none",
    ),
    (
        "networks/miniimagenet-conv/widths",
        [32, 32, 32, 32, 32, 32, 32],
        "networks.miniimagenet-conv.widths: 7 poolings leave nothing of 84 pixels "
        "(datasets.miniimagenet.image_size)",
    ),
    (
        "networks/mlp/widths",
        [256, 0],
        "networks.mlp.widths.1: must be greater than or equal to 1, not 0",
    ),
    ("run", MISSING, "run: this key is missing"),
    ("select", MISSING, "select: this key is missing"),
    ("runtime/threads", MISSING, "runtime.threads: this key is missing"),
    ("datasets/omniglot/classes", MISSING, "datasets.omniglot.classes: this key is missing"),
]


def _case(number: int, path: str, value: object, message: str) -> Case:
    key = path.replace("/", ".")
    if value is MISSING:
        input = f"`{key}` is left out"
    else:
        shown = yaml.safe_dump(value, default_flow_style=True, width=200).removesuffix("\n...\n")
        input = f"`{key}: {shown.strip()}`"

    def make(place: Place) -> Meet:
        return lambda: check(changed(path, value))

    return Case(f"mistake_{number}", input, f"config: {message}", make)


CASES += [_case(number, *mistake) for number, mistake in enumerate(MISTAKES)]


@case(
    "`probe.split: val` where snapshots are kept and there are no validation classes",
    f"config: probe.split: {ONE_SHOT} keeps snapshots, which are probed on validation classes, "
    "and datasets.omniglot.classes.val is 0; say 'train' or 'test'",
)
def no_classes_to_probe(place: Place) -> Meet:
    raw = changed("datasets/omniglot/classes/val", 0)
    raw["defaults"]["reported_checkpoint"] = "last"
    raw["overrides"]["snapshots"] = [0]
    raw["probe"] = {"split": "val"}
    return lambda: check(raw)


def overlay(content: bytes | None) -> Meet:
    """Write an overlay; return what reads it on top of config.yaml."""
    if content is not None:
        Path("mine.yaml").write_bytes(content)
    return lambda: read([FILE, Path("mine.yaml")])


UNREADABLE = "the configuration mine.yaml cannot be read: …"


@case(
    "no such file",
    "there is no configuration mine.yaml: run this in the project's folder, or name the file with "
    "--config",
)
def no_such_file(place: Place) -> Meet:
    return overlay(None)


@case("no YAML", UNREADABLE.replace("…", "line 1: while parsing a flow sequence, …"))
def no_yaml(place: Place) -> Meet:
    return overlay(b"a: [1")


@case("no text", UNREADABLE)
def no_text(place: Place) -> Meet:
    return overlay(b"\xff\xfe\xfa")


@case("a list where keys belong", "the configuration mine.yaml is not a mapping of keys to values")
def a_list(place: Place) -> Meet:
    return overlay(b"- 1")


@case("a value that contains itself", UNREADABLE)
def circle(place: Place) -> Meet:
    return overlay(b"select: &a {seeds: *a}")


@case("brackets without end", UNREADABLE)
def brackets(place: Place) -> Meet:
    return overlay(b"a: " + b"[" * 5000)


@case(
    "two blocks of `overrides`",
    UNREADABLE.replace("…", "line 3: the key 'overrides' stands twice, first in line 1; put …"),
)
def twice(place: Place) -> Meet:
    return overlay(b"overrides: {iterations: 5}\nrun: mine\noverrides: {test_tasks: 5}\n")


@case(
    "a key of an experiment twice",
    UNREADABLE.replace(
        "…",
        "line 4: the key 'shots' stands twice, first in line 3; put what belongs to it together",
    ),
)
def twice_below(place: Place) -> Meet:
    return overlay(b"experiments:\n  new:\n    shots: 1\n    'shots': 5\n")


AMBIGUOUS = (
    "line 1: `…` is not the same in every version of YAML: write true or false, a number as 8, "
    "1000 or 1.0e-3, and put text in quotes"
)


def _ambiguous(number: int, text: str, reading: str) -> Case:
    message = UNREADABLE.replace("…", AMBIGUOUS.replace("…", text.rpartition(": ")[2].strip("{}")))

    def make(place: Place) -> Meet:
        return overlay(text.encode())

    return Case(f"ambiguous_{number}", f"`{text}`, which {reading}", message, make)


CASES += [
    _ambiguous(number, *case)
    for number, case in enumerate(
        [
            ("overrides: {rotations: no}", "is false or text"),
            ("run: off", "is false or text"),
            ("overrides: {iterations: 010}", "is 8 or 10"),
            ("overrides: {iterations: 1:30}", "is 90 or text"),
            ("overrides: {iterations: 1_000}", "is 1000 or text"),
            ("overrides: {meta_step_size: 1e-3}", "is text or a number"),
            ("run: 2017-08-06", "is a date or text"),
            ("run: 2017-99-99", "is no date, or text"),
        ]
    )
]
