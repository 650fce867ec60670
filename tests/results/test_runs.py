"""Reading a run's files: what comes back, and one line for each way in which they can be wrong."""

import json

import pytest
from table_runs import accuracies, made_up, select, write, write_one

from maml.files.errors import UserError
from maml.results.runs import read

ONE_SHOT = "omniglot-5way-1shot"


@pytest.fixture
def config():
    return made_up(select([ONE_SHOT], ["maml", "fomaml"], [0, 1]))


@pytest.fixture
def folder(config, tmp_path):
    """The folder of the first training of a run."""
    write(config, tmp_path)
    return tmp_path / ONE_SHOT / "maml" / "seed-0"


def mistake(config, runs):
    with pytest.raises(UserError) as caught:
        read(config, runs)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_all_selected_trainings_come_back_in_order(config, folder, tmp_path):
    results = read(config, tmp_path)
    assert [(result.job.method, result.job.seed) for result in results] == [
        *[("maml", 0), ("maml", 1), ("fomaml", 0), ("fomaml", 1)],
    ]
    first = results[0]
    assert first.job == config.job(ONE_SHOT, "maml", 0)
    assert first.origin["iteration"] == {"best": 1000, "last": 60_000}
    assert first.training["seconds"] == 3600
    assert first.curve["validation_accuracy"].tolist() == [0.5]
    assert not first.diverged


def test_accuracies_are_the_reported_ones_unless_others_are_asked_for(config, folder, tmp_path):
    first = read(config, tmp_path)[0]
    expected = accuracies(first.job).query("queries == 1 and step == 3")
    assert first.accuracies().index.tolist() == list(range(10))
    best = expected.query("checkpoint == 'best'")["accuracy"]
    assert first.accuracies().tolist() == pytest.approx(best.tolist())
    last = expected.query("checkpoint == 'last'")["accuracy"]
    assert first.accuracies(checkpoint="last").tolist() == pytest.approx(last.tolist())
    assert first.accuracies(queries=15).mean() == pytest.approx(0.72)
    assert first.accuracies(step=0).tolist() == [0.2] * 10


def test_a_diverged_training_has_no_accuracies(config, tmp_path):
    write(config, tmp_path)
    write_one(config.jobs()[1], tmp_path, outcome="diverged at iteration 20")
    diverged = read(config, tmp_path)[1]
    assert diverged.diverged
    assert diverged.accuracies().empty


@pytest.mark.parametrize("name", ["evaluation.csv", "training.json", "curve.csv"])
def test_a_missing_file_is_named(config, folder, tmp_path, name):
    (folder / name).unlink()
    assert mistake(config, tmp_path) == (
        f"{folder / name} cannot be read (No such file or directory); run `snakemake`"
    )


@pytest.mark.parametrize("content", ["", "nonsense", "[]", "{}\n", b"\xff\xfe"])
@pytest.mark.parametrize("name", ["evaluation.csv", "training.json", "curve.csv"])
def test_a_damaged_file_is_named(config, folder, tmp_path, name, content):
    (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    message = mistake(config, tmp_path)
    assert message.startswith(f"{folder / name} is damaged (")
    assert message.endswith("); remove it and run `snakemake`")


def test_a_record_that_lacks_something_says_what(config, folder, tmp_path):
    record = json.loads((folder / "training.json").read_text())
    del record["device"], record["seconds"]
    (folder / "training.json").write_text(json.dumps(record))
    assert "(it does not say: device, seconds)" in mistake(config, tmp_path)


@pytest.mark.parametrize("edit", ["cut", "twice", "other"])
def test_an_evaluation_with_missing_or_double_rows_is_not_averaged(config, folder, tmp_path, edit):
    path = folder / "evaluation.csv"
    lines = path.read_text().splitlines()
    assert len(lines) == 2 + 2 * 2 * 10 * 6
    if edit != "other":
        lines.pop()
    if edit != "cut":
        lines[-1] = lines[-2]
    path.write_text("\n".join(lines) + "\n")
    found = {"cut": 239, "twice": 239, "other": 240}[edit]
    assert f"(240 different rows are expected and {found} found)" in mistake(config, tmp_path)


@pytest.mark.parametrize(("kept", "reason"), [(1, "0"), (2, "59000")])
def test_a_curve_that_was_cut_at_a_line_is_not_drawn(config, folder, tmp_path, kept, reason):
    path = folder / "curve.csv"
    head, last = path.read_text().splitlines()
    lines = [head, last.replace("60000", "59000", 1), last]
    path.write_text("\n".join(lines) + "\n")
    assert read(config, tmp_path)[0].curve["iteration"].tolist() == [59_000, 60_000]
    path.write_text("\n".join(lines[:kept]) + "\n")
    assert f"(it ends at iteration {reason} of 60000)" in mistake(config, tmp_path)


def test_the_curve_of_a_training_that_diverged_may_end_anywhere(config, folder, tmp_path):
    write_one(config.jobs()[0], tmp_path, outcome="diverged at iteration 20")
    head, _ = (folder / "curve.csv").read_text().splitlines()
    (folder / "curve.csv").write_text(head + "\n")
    assert read(config, tmp_path)[0].curve.empty


@pytest.mark.parametrize("value", ["1.5", "-0.1", "", "nan"])
def test_an_accuracy_out_of_range_is_refused(config, folder, tmp_path, value):
    path = folder / "evaluation.csv"
    lines = path.read_text().splitlines()
    lines[2] = ",".join([*lines[2].split(",")[:4], value, "1"])
    path.write_text("\n".join(lines) + "\n")
    assert "an accuracy is not between 0 and 1" in mistake(config, tmp_path)


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        ({"iterations": 100}, "iterations: 60000, and the configuration says 100"),
        ({"test_tasks": 5}, "test_tasks: 10, and the configuration says 5"),
    ],
)
def test_results_of_other_settings_are_refused(config, folder, tmp_path, overrides, expected):
    other = made_up(select([ONE_SHOT], ["maml"], [0]), {"overrides": overrides})
    assert mistake(other, tmp_path) == (
        f"{folder / 'evaluation.csv'} was made with {expected}; run `snakemake`, which makes it "
        "again"
    )


def test_another_reported_step_needs_no_new_results(config, folder, tmp_path):
    other = made_up(select([ONE_SHOT], ["maml"], [0]), {"overrides": {"reported_step": 1}})
    assert read(other, tmp_path)[0].accuracies().mean() == pytest.approx(0.2)
