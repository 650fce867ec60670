"""Results that tables and figures are made of (`maml tables`, `maml figures`)."""

import json
from pathlib import Path

from results.table_runs import made_up, select, write

from bad_input.case import Meet, Place, collector
from maml.results.runs import read

CASES, case = collector()

RUNS = Path("results/made-up/runs")
FOLDER = RUNS / "omniglot-5way-1shot" / "maml" / "seed-0"
EVALUATION = FOLDER / "evaluation.csv"
ENDING = "; remove it and run `snakemake`"
ONE = select(["omniglot-5way-1shot"], ["maml"], [0])


def written(place: Place, name: str, change) -> Meet:
    """Write a made-up result and change the lines of one of its files."""
    config = made_up(ONE)
    write(config, RUNS)
    path = FOLDER / name
    path.write_text("\n".join(change(path.read_text().splitlines())) + "\n")
    return lambda: read(config, RUNS)


def accuracy(value: str):
    """Replace the first accuracy."""

    def change(lines: list[str]) -> list[str]:
        *key, _, loss = lines[2].split(",")
        return [*lines[:2], ",".join([*key, value, loss]), *lines[3:]]

    return change


@case(
    "an evaluation is missing",
    f"{EVALUATION} cannot be read (No such file or directory); run `snakemake`",
)
def missing(place: Place) -> Meet:
    meet = written(place, "evaluation.csv", lambda lines: lines)
    EVALUATION.unlink()
    return meet


@case("an empty file", f"{EVALUATION} is damaged (…){ENDING}")
def empty(place: Place) -> Meet:
    return written(place, "evaluation.csv", lambda lines: [])


@case(
    "an evaluation that is cut short",
    f"{EVALUATION} is damaged (240 different rows are expected and 200 found){ENDING}",
)
def cut_short(place: Place) -> Meet:
    return written(place, "evaluation.csv", lambda lines: lines[:202])


@case(
    "a row twice",
    f"{EVALUATION} is damaged (240 different rows are expected and 241 found){ENDING}",
)
def row_twice(place: Place) -> Meet:
    return written(place, "evaluation.csv", lambda lines: [*lines, lines[-1]])


@case(
    "an accuracy beyond 1", f"{EVALUATION} is damaged (an accuracy is not between 0 and 1){ENDING}"
)
def beyond(place: Place) -> Meet:
    return written(place, "evaluation.csv", accuracy("1.5"))


@case("an accuracy that is no number", f"{EVALUATION} is damaged (…){ENDING}")
def no_number(place: Place) -> Meet:
    return written(place, "evaluation.csv", accuracy("high"))


@case(
    "an accuracy is missing",
    f"{EVALUATION} is damaged (an accuracy is not between 0 and 1){ENDING}",
)
def no_accuracy(place: Place) -> Meet:
    return written(place, "evaluation.csv", accuracy(""))


@case("a first line that is no JSON", f"{EVALUATION} is damaged (…){ENDING}")
def no_origin(place: Place) -> Meet:
    return written(place, "evaluation.csv", lambda lines: lines[1:])


@case("a first line of brackets only", f"{EVALUATION} is damaged (…){ENDING}")
def brackets(place: Place) -> Meet:
    return written(place, "evaluation.csv", lambda lines: ["# " + "[" * 100_000, *lines[1:]])


@case(
    "a first line that lacks something",
    f"{EVALUATION} is damaged (it does not say: device){ENDING}",
)
def no_device(place: Place) -> Meet:
    def change(lines: list[str]) -> list[str]:
        origin = json.loads(lines[0][2:])
        del origin["device"]
        return [f"# {json.dumps(origin)}", *lines[1:]]

    return written(place, "evaluation.csv", change)


@case("settings that are no mapping", f"{EVALUATION} is damaged (…){ENDING}")
def no_settings(place: Place) -> Meet:
    def change(lines: list[str]) -> list[str]:
        origin = json.loads(lines[0][2:]) | {"settings": "none"}
        return [f"# {json.dumps(origin)}", *lines[1:]]

    return written(place, "evaluation.csv", change)


@case("a damaged record of the training", f"{FOLDER}/training.json is damaged (…){ENDING}")
def damaged_record(place: Place) -> Meet:
    return written(place, "training.json", lambda lines: ["{"])


@case("a learning curve without a column", f"{FOLDER}/curve.csv is damaged (…){ENDING}")
def no_column(place: Place) -> Meet:
    return written(place, "curve.csv", lambda lines: [line.partition(",")[0] for line in lines])


@case(
    "a learning curve that is cut short",
    f"{FOLDER}/curve.csv is damaged (it ends at iteration 0 of 60000){ENDING}",
)
def cut_curve(place: Place) -> Meet:
    return written(place, "curve.csv", lambda lines: lines[:1])


@case(
    "results of other settings",
    f"{EVALUATION} was made with iterations: 60000, and the configuration says 100; run "
    "`snakemake`, which makes it again",
)
def other_settings(place: Place) -> Meet:
    written(place, "evaluation.csv", lambda lines: lines)
    other = made_up(ONE, {"overrides": {"iterations": 100}})
    return lambda: read(other, RUNS)
