"""The pages of ``docs/`` that repeat what the code and ``config.yaml`` say, written from both."""

import json
import re
from collections.abc import Iterable, Sequence
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

from maml.algorithm.maml import meta_loss_scale
from maml.configuration import config as configuration
from maml.configuration import overlays, schema
from maml.configuration.config import Config
from maml.configuration.schema import Defaults, Entry, Experiment, Overrides, Strict
from maml.files.atomic import atomic_file

CONFIG = Path("config.yaml")

RECOMPUTES = {
    "training": "training",
    "evaluation": "evaluation",
    "summary": "tables and figures",
    "later": "what is kept from then on",
}
"""Stage of a setting → what a change of it computes again, with all that follows."""


def write_reference(out: Path) -> None:
    """Write config.schema.json, configuration.md and protocol.md into the folder ``out``.

    ``config.yaml`` is read from the folder in which this runs.
    """
    raw = overlays.load([CONFIG])
    code, paper = (configuration.check(raw | {"protocol": name}) for name in ("code", "paper"))
    pages = {
        "config.schema.json": json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n",
        "configuration.md": _configuration(code),
        "protocol.md": _protocol(code, paper),
    }
    for name, text in pages.items():
        with atomic_file(out / name) as unfinished:
            unfinished.write_text(text, encoding="utf-8")


def _template(name: str) -> Template:
    return Template((files("maml") / "templates" / name).read_text(encoding="utf-8"))


def json_schema() -> dict[str, Any]:
    """Return the JSON schema of ``config.yaml``, for editors."""
    whole = Config.model_json_schema()
    for part in (Defaults, Entry, Overrides):  # a key that is left out is not null
        for key in whole["$defs"][part.__name__]["properties"].values():
            del key["default"]
    return {"$schema": "https://json-schema.org/draft/2020-12/schema"} | whole


def _configuration(config: Config) -> str:
    parts = [
        _template("configuration.md").template,
        _section("Top level", configuration.Config, {"value": config}),
        _section("`select`", schema.Select, {"value": config.select}),
        _section("`runtime`", schema.Runtime, {"value": config.runtime}),
        _section(
            "`resources.<rule>`",
            schema.Allocation,
            {name: getattr(config.resources, name) for name in schema.Resources.model_fields},
        ),
        _section("`verdict`", schema.VerdictSettings, {"value": config.verdict}),
        _section("`probe`", schema.ProbeSettings, {"value": config.probe}),
        _section("`baselines`", schema.BaselineSettings, {"value": config.baselines}),
        _section("`cost`", schema.CostSettings, {"value": config.cost}),
        _section("`datasets.<name>`", schema.Dataset, config.datasets),
        _section(
            "`datasets.<name>.classes`",
            schema.Classes,
            {name: dataset.classes for name, dataset in config.datasets.items()},
        ),
        _section("`networks.<name>`", schema.Network, config.networks),
        _section(
            "`networks.<name>.hidden_initialisation`, `.head_initialisation`",
            schema.Initialisation,
            {
                f"{name}, {key.removesuffix('_initialisation')}": getattr(network, key)
                for name, network in config.networks.items()
                for key in ("hidden_initialisation", "head_initialisation")
            },
        ),
        _section("`methods.<name>`", schema.Method, config.methods),
        _section(
            "`methods.<name>.gradient_dropout`",
            schema.GradientDropout,
            {
                name: method.gradient_dropout
                for name, method in config.methods.items()
                if method.gradient_dropout
            },
        ),
        "## `defaults`, `experiments.<name>`, `overrides`\n",
        f"{Experiment.__doc__} The three have the same keys; an experiment needs each in one of "
        "them. An experiment may have `variant_of`, too. "
        f"{Entry.model_fields['variant_of'].description} And it may have `methods`. "
        f"{Entry.model_fields['methods'].description}\n",
        _table(
            ["key", "type", "`defaults`", "decides", "meaning"],
            (
                [
                    f"`{key}`",
                    _type(about),
                    _code(getattr(config.defaults, key))
                    if key in config.defaults.model_fields_set
                    else "",
                    RECOMPUTES[about.get("stage", "training")],
                    _prose(about["description"]),
                ]
                for key, about in Experiment.model_json_schema()["properties"].items()
            ),
        ),
    ]
    return "\n".join(parts)


def _section(heading: str, part: type[Strict], entries: dict[str, Any]) -> str:
    """Return a part's heading, what it is, and a table of its keys with each entry's values."""
    keys = part.model_json_schema()["properties"]
    rows = [
        [
            f"`{key}`",
            _type(about),
            *(_value(getattr(entry, key)) for entry in entries.values()),
            _prose(about["description"]),
        ]
        for key, about in keys.items()
        if "description" in about
    ]
    names = ["value"] if list(entries) == ["value"] else [f"`{name}`" for name in entries]
    return f"## {heading}\n\n{part.__doc__}\n\n" + _table(["key", "type", *names, "meaning"], rows)


def _prose(description: str) -> str:
    """Return a description with its paths in code, where ``<run>`` would be taken for HTML."""
    return re.sub(r"[\w./-]+/<\w+>(/\w+)*", r"`\g<0>`", description)


def _type(about: dict[str, Any]) -> str:
    """Return a JSON schema's type in words."""
    if "anyOf" in about:
        return " or ".join(_type(option) for option in about["anyOf"])
    if "enum" in about:
        return " or ".join(f"`{option}`" for option in about["enum"])
    if about.get("type") == "array":
        if "enum" in about["items"]:
            return f"list of {_type(about['items'])}"
        kind, *bounds = _type(about["items"]).split(" ", maxsplit=1)
        return " ".join([f"list of {kind}s", *bounds])
    if "$ref" in about or about.get("type") == "object":
        return "mapping"
    name = {"boolean": "`true` or `false`", "null": "`null`"}.get(about["type"], about["type"])
    signs = {"minimum": "≥", "exclusiveMinimum": ">", "exclusiveMaximum": "<"}
    bounds = [f"{sign} {about[key]}" for key, sign in signs.items() if key in about]
    return " ".join([name, " and ".join(bounds)]).strip()


def _value(value: Any) -> str:
    """Return a value for a table's cell: of a mapping its keys, of a part that it stands below."""
    if isinstance(value, dict):
        return ", ".join(_code(key) for key in value)
    return "below" if isinstance(value, Strict) else _code(value)


def _code(value: Any) -> str:
    """Return a value as YAML has it."""
    text = value if isinstance(value, str) else json.dumps(value)
    if isinstance(value, float) and "e" in text and "." not in text:
        text = text.replace("e", ".0e")  # 1e-08 would be a string in YAML
    return f"`{text}`"


def _table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [headings, ["---"] * len(headings), *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def _protocol(code: Config, paper: Config) -> str:
    settings = {
        name: (code.experiment(name, overridden=False), paper.experiment(name, overridden=False))
        for name in code.experiments
    }
    ours = {name: pair[0] for name, pair in settings.items()}
    omniglot, mini = code.datasets["omniglot"], code.datasets["miniimagenet"]
    cells = {
        key: {name: _both(*(getattr(e, key) for e in pair)) for name, pair in settings.items()}
        for key in Experiment.model_fields
        if schema.stage_decided_by(key) != "later"
    }
    same = [key for key, values in cells.items() if len(set(values.values())) == 1]
    by_dataset: dict[str, list[str]] = {}
    for name, experiment in ours.items():
        by_dataset.setdefault(experiment.dataset, []).append(name)
    return _template("protocol.md").substitute(
        differences=_differences(code, paper, settings),
        derived=_derived(settings),
        code_split=_split(omniglot),
        paper_split=_split(paper.datasets["omniglot"]),
        mini_split=_split(mini),
        training_tasks=_each_once(f"{e.training_tasks:,}" for e in ours.values()),
        batch_norm_epsilon=_each_once(f"{n.batch_norm_epsilon:g}" for n in code.networks.values()),
        validate_every=_each_once(f"{e.validate_every:,}" for e in ours.values()),
        validation_tasks=_each_once(str(e.validation_tasks) for e in ours.values()),
        test_tasks=_each_once(str(e.test_tasks) for e in ours.values()),
        test_steps=_each_once(str(e.test_steps) for e in ours.values()),
        seeds=", ".join(map(str, code.select.seeds)),
        common=_table(
            ["setting", "value"], ([f"`{key}`", next(iter(cells[key].values()))] for key in same)
        ),
        particular="\n".join(
            f"### `{dataset}`\n\n"
            + _table(
                ["setting", *(f"`{name}`" for name in names)],
                (
                    [f"`{key}`", *(values[name] for name in names)]
                    for key, values in cells.items()
                    if key not in [*same, "dataset"]
                ),
            )
            for dataset, names in by_dataset.items()
        ),
    )


def _differences(
    code: Config, paper: Config, settings: dict[str, tuple[Experiment, Experiment]]
) -> str:
    """Return the table of what the protocols set differently; equal differences share a row."""
    rows = []
    for name, dataset in code.datasets.items():
        before, after = (data.classes for data in (dataset, paper.datasets[name]))
        if before != after:
            users = [key for key, (experiment, _) in settings.items() if experiment.dataset == name]
            splits = [_split(dataset), _split(paper.datasets[name])]
            rows.append([f"classes of `{name}`", *splits, ", ".join(users)])
    for key in Experiment.model_fields:
        grouped: dict[tuple[str, str], list[str]] = {}
        for name, pair in settings.items():
            values = [_code(getattr(experiment, key)) for experiment in pair]
            if values[0] != values[1]:
                grouped.setdefault((values[0], values[1]), []).append(name)
        for (before, after), names in grouped.items():
            where = "all" if len(names) == len(settings) else ", ".join(names)
            rows.append([f"`{key}`", before, after, where])
    return _table(["setting", "`protocol: code`", "`protocol: paper`", "experiments"], rows)


def _derived(settings: dict[str, tuple[Experiment, Experiment]]) -> str:
    """Return the table of what follows from the settings of ``protocol: code``."""
    rows = []
    for name, (code, paper) in settings.items():
        scale, clip = meta_loss_scale(code), code.meta_gradient_clip
        rows.append(
            [
                name,
                f"{paper.inner_step_size:g} · {code.ways} = {code.inner_step_size:g}",
                f"{scale:g}",
                f"{clip:g} / {scale:g} = {clip / scale:.4f}" if clip else "",
                f"{code.iterations * code.meta_batch_size / code.training_tasks:.1f}",
            ]
        )
    headings = [
        "",
        "printed α · N",
        "N·Q/K",
        "clip on the mean's gradient",
        "passes over the tasks",
    ]
    return _table(headings, rows)


def _both(code: Any, paper: Any) -> str:
    return _code(code) if code == paper else f"{_code(code)} → {_code(paper)}"


def _split(dataset: schema.Dataset) -> str:
    classes = dataset.classes
    return f"{classes.train} / {classes.val} / {classes.test}"


def _each_once(texts: Iterable[str]) -> str:
    """Return the distinct texts, in order."""
    return " or ".join(dict.fromkeys(texts))
