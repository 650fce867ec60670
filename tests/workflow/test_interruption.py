"""A run that is stopped with Ctrl-C, and the same command again."""

import os
import signal
import time

OVERLAY = """
run: interrupted
select: {experiments: [omniglot-5way-1shot], methods: [fomaml]}
runtime: {checkpoint_every: 20}
overrides: {iterations: 400, validate_every: 400, snapshots: [5]}
"""
LONGER = "overrides: {iterations: 410}"
SECONDS = 120


def wait_for(found, process):
    """Wait until ``found`` returns something."""
    end = time.monotonic() + SECONDS
    while not found():
        assert process.poll() is None, process.stdout.read()
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.05)


def test_an_interrupted_run_goes_on_with_the_same_command(finished, smoke):
    project, _ = finished
    folder = project.folder / "results/interrupted/runs/omniglot-5way-1shot/fomaml/seed-0"
    record = folder / "training.json"
    target = str(record.relative_to(project.folder))
    command = (target, *smoke, project.overlay("interrupted.yaml", OVERLAY))

    def checkpoints():
        return set(project.folder.glob("checkpoints/**/*.checkpoint"))

    before = checkpoints()
    with project.start(*command) as first:
        wait_for(lambda: checkpoints() - before, first)
        os.killpg(first.pid, signal.SIGSTOP)  # or it may be done before the second one has begun
        second = project.snakemake(*command)
        os.killpg(first.pid, signal.SIGCONT)
        os.killpg(first.pid, signal.SIGINT)
        output, _ = first.communicate(timeout=SECONDS)
    assert "Error: Directory cannot be locked" in second.stdout
    assert second.returncode != 0
    assert first.returncode != 0
    assert "interrupted at" in output
    assert not record.exists()
    assert (folder / "snapshots" / "iteration-5.safetensors").exists()

    again = project.snakemake(*command)
    assert again.returncode == 0, again.stdout
    assert "resumed at iteration" in again.stdout
    assert record.exists()
    longer = project.snakemake(*command, project.overlay("longer.yaml", LONGER))
    assert "resumed at iteration 400 of 410" in longer.stdout, longer.stdout
    assert (folder / "snapshots" / "iteration-5.safetensors").exists()
