"""The code of other commits of this project, asked in their own words for its digests."""

import io
import json
import os
import re
import subprocess
import sys
import tarfile
import tempfile
from functools import cache
from pathlib import Path

from maml.files.unpacking import extract_all

ASKED = (
    "from maml.files.codedigest import JOBS, code_of;"
    "digests = {job: code_of(job) for job in ('train', 'evaluate', 'baselines') if job in JOBS}",
    "from maml.files.codedigest import code_of;"
    "digests = {job: code_of(job) for job in ('train', 'evaluate')}",
    "from maml.codedigest import code_digest;"
    "digests = {job: code_digest(f'maml.{job}') for job in ('train', 'evaluate')}",
)
"""How a commit is asked for the digests of its code: today's way, and earlier ones."""


def full_name(commit: str = "HEAD") -> str:
    """Return the digest of a commit that is named in any way; empty where this clone has none."""
    words = ("rev-parse", "--verify", "--quiet", "--end-of-options", f"{commit}^{{commit}}")
    return _git(*words).decode().strip()


@cache
def code_at(commit: str) -> dict[str, str]:
    """Return the digests of the code at a commit, as it takes them: ``train``, ``evaluate``, ….

    Empty where this clone does not have the commit, or the commit does not know.
    """
    # What a file names could be an option of git's.
    known = re.fullmatch(r"[0-9a-f]{40,64}", commit)
    archive = _git("archive", commit, "src/maml") if known else b""
    if not archive:
        return {}
    with tempfile.TemporaryDirectory() as folder:
        with tarfile.open(fileobj=io.BytesIO(archive)) as files:
            extract_all(files, Path(folder))
        environment = {**os.environ, "PYTHONPATH": str(Path(folder, "src"))}
        for question in ASKED:
            words = [sys.executable, "-c", f"import json; {question}; print(json.dumps(digests))"]
            done = subprocess.run(words, env=environment, capture_output=True, cwd=folder)
            if done.returncode == 0:
                return json.loads(done.stdout)
    return {}


def _git(*words: str) -> bytes:
    """Return what git prints; nothing where it fails."""
    try:
        done = subprocess.run(["git", *words], capture_output=True)
    except OSError:
        return b""
    return b"" if done.returncode else done.stdout
