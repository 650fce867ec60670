import subprocess
from types import SimpleNamespace

import pytest

from maml.workflow.control import SAY_IF_KILLED, RunControl


@pytest.mark.parametrize(
    ("command", "code", "said"),
    [
        ("sh -c 'kill -KILL $$' | cat", 137, True),
        ("(exec 2>&1; kill -KILL $BASHPID) | cat", 137, True),
        ("sh -c 'kill -TERM $$' | cat", 143, False),
        ("false | cat", 1, False),
        ("true | cat", 0, False),
    ],
)
def test_a_job_that_was_killed_is_said_to_be(command, code, said):
    words = ["bash", "-c", f"set -euo pipefail; {SAY_IF_KILLED} {command}"]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == code
    assert ("memory is used up" in done.stderr) == said


@pytest.mark.parametrize(
    ("nodes", "given", "registered"),
    [(None, {}, [("mem_mb", 8000)]), (None, {"mem_mb": 500}, []), (48, {}, [])],
)
def test_only_local_jobs_are_bounded_and_the_command_line_precedes(nodes, given, registered):
    found = []
    workflow = SimpleNamespace(
        global_resources={"_nodes": SimpleNamespace(value=nodes), **given},
        register_resource=lambda *resource: found.append(resource),
    )
    control = RunControl.__new__(RunControl)
    control._workflow = workflow
    control.offer("mem_mb", 8000)
    assert found == registered
