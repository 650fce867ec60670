"""What is read of a scheduler's queue, with a `squeue` of our own."""

import json
from pathlib import Path

import pytest
from snakemake.persistence.file import FilePersistence

from maml.workflow import notes, queue

OUTPUT = Path("results/smoke/runs/omniglot-5way-1shot/maml/seed-0/training.json")


@pytest.fixture
def squeue(tmp_path, monkeypatch):
    """Let `squeue` print the lines that a test gives, or fail."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:/usr/bin:/bin")

    def prints(*lines, code=0):
        script = tmp_path / "bin" / "squeue"
        script.parent.mkdir(exist_ok=True)
        (tmp_path / "queue").write_text("".join(f"{line}\n" for line in lines))
        script.write_text(f"#!/bin/sh\ncat {tmp_path}/queue\nexit {code}\n")
        script.chmod(0o755)

    return prints


def submit(output, number):
    """Note that an output is being made, as Snakemake does."""
    path = Path(FilePersistence._record_path(_Named(), str(notes.INCOMPLETE), str(output)))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"external_jobid": number}))


class _Named:
    """As much of Snakemake's records as names a file, where names are at most 100 long."""

    def _fetch_max_len(self, subject):
        return 100


@pytest.mark.parametrize("output", [OUTPUT, Path("a" * 300) / "b"])
def test_an_output_has_the_job_that_makes_it(squeue, output):
    squeue("7|PENDING|maml_1|/here", "8|RUNNING|other|/", "9|COMPLETING|maml_1|/here", "")
    submit(output, "7")
    submit("elsewhere", "9")
    submit("here", None)
    assert notes.submitted() == {str(output): "7", "elsewhere": "9"}
    assert queue.by_output() == {output: queue.Entry("PENDING", "maml_1", Path("/here"))}
    assert queue.by_output()[output].waits


def test_jobs_that_were_left_behind_are_to_be_ended_by_name(squeue, tmp_path):
    squeue(
        f"7|PENDING|maml_1|{tmp_path}",
        f"8|RUNNING|maml_2|{tmp_path}",
        f"9|COMPLETING|maml_1|{tmp_path}",
        f"10|RUNNING|something else|{tmp_path}",
        f"11|RUNNING|maml_3|{tmp_path}/another project",
    )
    left = queue.left_behind()
    assert [entry.name for entry in left] == ["maml_1", "maml_2"]
    said = queue.first_end(left)
    assert said.startswith("2 jobs of an earlier run would be submitted twice")
    assert "scancel --name=maml_1; scancel --name=maml_2. Then" in said
    assert "\n" not in said


def test_nobody_is_asked_where_nothing_was_submitted(squeue):
    squeue("7|PENDING|maml_1|/")
    submit("here", None)
    assert queue.by_output() == {}


@pytest.mark.parametrize("there", [False, True])
def test_a_queue_that_does_not_answer_holds_nothing(squeue, there):
    if there:
        squeue("7|PENDING|maml_1|/", code=1)
    submit(OUTPUT, "7")
    assert queue.by_output() == {}
