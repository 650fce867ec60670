"""A card beside each pair of trained weights: what they are, how good, and under which licence."""

from pathlib import Path

from maml.configuration.config import Config
from maml.data.formats import FORMATS
from maml.files.atomic import atomic_file
from maml.results.cells import collect
from maml.results.runs import Result, read
from maml.training import weights

CARD = """\
---
license: mit
tags: [few-shot, meta-learning, maml]
---
# {experiment}, {label}, seed {seed}

| | |
| --- | --- |
| experiment | `{experiment}`: {ways}-way {shots}-shot, data set `{dataset}` |
| method | `{method}`: {label} |
| protocol | `{protocol}`, run `{run}`, {iterations:,} meta-iterations |
| seed | {seed} |
| meta-test accuracy | {accuracy} |
| `best.safetensors` | best in validation, iteration {best:,} |
| `last.safetensors` | iteration {last:,} |
| data | {source}; digest `{data}` |
| code | training `{training_code}`, evaluation `{evaluation_code}` |
| machine | {device}; {versions} |
| licence | weights: MIT; images they learnt from: {licence} |

`maml.training.weights.load("best.safetensors").adapt(images, labels)` adapts them to a new
task. Each file holds its settings, too (safetensors metadata, key `card`), and loading it runs no
code.
"""


def write_cards(config: Config, runs: Path) -> None:
    """Write README.md beside the weights of every selected training.

    Args:
        config: which experiments, methods and seeds.
        runs: ``results/<run>/runs``.

    Raises:
        UserError: as in :func:`maml.results.runs.read`, or weights are damaged.
    """
    results = read(config, runs)
    texts = {}
    for result in results:
        job = result.job
        folder = job.folder(runs)
        trained = weights.load(folder / f"{job.settings.reported_checkpoint}.safetensors")
        texts[folder / "README.md"] = _card(config, result, trained)
    for path, text in texts.items():
        with atomic_file(path) as unfinished:
            unfinished.write_text(text, encoding="utf-8")


def _card(config: Config, result: Result, trained: weights.Trained) -> str:
    job, origin = result.job, result.origin
    return CARD.format(
        experiment=job.experiment,
        method=job.method,
        label=job.gradient.label,
        seed=job.seed,
        ways=job.settings.ways,
        shots=job.settings.shots,
        dataset=job.settings.dataset,
        protocol=config.protocol,
        run=job.run,
        iterations=trained.job.settings.iterations,
        accuracy=_accuracy(config, result),
        best=origin["iteration"]["best"],
        last=origin["iteration"]["last"],
        source=origin["source"],
        data=origin["data"],
        training_code=result.training["code"],
        evaluation_code=origin["code"],
        device=result.training["device"],
        versions=", ".join(f"{name} {version}" for name, version in origin["versions"].items()),
        licence=FORMATS[job.dataset.format].LICENCE
        if job.dataset.source != "synthetic"
        else "synthetic, MIT",
    )


def _accuracy(config: Config, result: Result) -> str:
    """Return the accuracy that Table 1 takes from these weights, in words."""
    if result.diverged:
        return "none: the training diverged"
    settings = result.job.settings
    [cell] = collect(config, [result])
    return (
        f"{cell.text()} % after {settings.reported_step} inner steps with the"
        f" {settings.reported_checkpoint} weights: mean and 95 % interval over"
        f" {settings.test_tasks} tasks; query images a class: {settings.reported_queries}"
    )
