"""What DVC keeps of a run: recorded when it is whole, restored in a clone (docs/versioning.md).

``dvc.yaml`` has a stage for each run that is kept; its command is the one that makes the run. A run
without a stage, as the smoke run, is not DVC's. The data sets, which runs share, are tracked by
``data/<slug>.dvc``. Without DVC or git nothing is recorded, and everything else works.
"""

import importlib.util
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from maml.configuration.config import Config
from maml.files.atomic import atomic_file
from maml.files.errors import UserError
from maml.files.paths import PROCESSED, RAW, RESULTS
from maml.files.words import some

PIPELINE = Path("dvc.yaml")
LOCK = Path("dvc.lock")
DATA = RAW.parent
NOT_FOLLOWED = (
    "and neither git nor DVC follows one; where the disk is too small, keep the whole project on a "
    "larger one"
)
NOTHING_LEFT = "Nothing to be done"  # Snakemake's words


def record(config: Config) -> bool:
    """Record a run that is whole: the data it used, and its ``dvc.lock``.

    Only where the stage's own command, asked anew, has nothing left to do: a run with other
    arguments, or an edit while it ran, must not leave old results recorded beside new code. What
    goes wrong is said and not raised, as the run itself has succeeded; the next run tries again.

    Returns:
        Whether what is here may be recorded as what code and configuration make.
    """
    whole = True
    try:
        stage = _stages(PIPELINE).get(config.run) if _usable() else None
        if stage is None:
            return True
        if link := _link([RESULTS / config.run / "runs"]):
            _say(f"not recorded, as {link} is a link, {NOT_FOLLOWED}")
            return True
        data = data_files(config)
        targets = [str(file) for file in data]
        if "DVC_STAGE" not in os.environ:  # `dvc repro` records the stage that it runs itself
            targets.append(config.run)
            if _up_to_date(targets):
                return True
        whole = False
        if jobs := jobs_left(stage["cmd"]):
            raise UserError(f"`{stage['cmd']}` has something left to do: {some(jobs, '; ')}")
        whole = True
        if targets:
            begin(data)
            _commit(targets)
    except (OSError, UserError) as error:
        _say(f"not recorded ({error}); the next `snakemake` tries again")
    return whole


def restore() -> None:
    """Bring back every recorded run, and say what is left to do since.

    Raises:
        UserError: nothing is recorded, or a file cannot be brought back as it was recorded.
    """
    if not _usable():
        raise UserError("restoring needs DVC and a git clone; `snakemake` makes everything anew")
    recorded, stages = _stages(LOCK), _stages(PIPELINE)
    runs = [run for run in stages if run in recorded]
    if not runs:
        raise UserError(f"no run is recorded in {LOCK}; `snakemake` makes everything anew")
    data = {file: _pushed(file) for file in sorted(DATA.glob("*.dvc"))}
    _pull([*runs, *(str(file) for file, pushed in data.items() if pushed)])
    private = [path for file, pushed in data.items() if not pushed for path in _outputs(file)]
    if missing := [str(path) for path in private if not path.exists()]:  # DVC would remove others
        _pull(["--allow-missing", *missing])
    absent = [path.as_posix() for path in private if not path.exists()]
    if absent:
        _say(
            f"not on the remote, and needed only to train or evaluate: {', '.join(absent)}; "
            "`snakemake download` fetches them"
        )
    for run in runs:
        jobs = jobs_left(stages[run]["cmd"])
        if not jobs:
            _say(f"results/{run} is as recorded; nothing is left to do")
            continue
        _say(f"results/{run} is as recorded; code, configuration or data changed since, so to do:")
        print(*(f"  {job}" for job in jobs), sep="\n", file=sys.stderr)


def jobs_left(command: str) -> list[str]:
    """Return what a Snakemake command would do, a line a job.

    Raises:
        UserError: it cannot say so.
    """
    words = [sys.executable, "-m", *shlex.split(command), "--dry-run", "--quiet", "host", "reason"]
    done = subprocess.run(words, capture_output=True, text=True)
    said = done.stdout + done.stderr
    jobs = list(dict.fromkeys(re.findall(r"^ *Job \d+: (.*)$", said, re.MULTILINE)))
    if done.returncode or not (jobs or NOTHING_LEFT in said):
        raise UserError(f"`{command} --dry-run` failed: {_last(said)}")
    return jobs


def _usable() -> bool:
    """Return whether this is a git clone that DVC knows, and DVC is installed."""
    checkout = Path(".dvc").is_dir() and Path(".git").exists()
    return checkout and importlib.util.find_spec("dvc") is not None


def _stages(path: Path) -> dict[str, Any]:
    return (_read(path) if path.exists() else {}).get("stages") or {}


def _read(path: Path) -> dict[str, Any]:
    """Return what one of DVC's files says."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
        if not isinstance(content, dict):
            raise TypeError("it is no mapping")
    except (ValueError, TypeError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise UserError(
            f"{path} is damaged ({reason}); `git checkout {path}` brings it back"
        ) from error
    return content


def data_files(config: Config) -> dict[Path, dict[str, Any]]:
    """Return the ``.dvc`` file of each data set that is here, and what it says to begin with.

    Images that may not be passed on get ``push: false``, once: whoever may keep them on a remote
    removes it.
    """
    files = {}
    for slug, name in config.slugs().items():
        folders = [RAW / slug, PROCESSED / slug]
        if link := _link(folders):
            _say(f"the images of {slug} are not recorded, as {link} is a link, {NOT_FOLLOWED}")
        elif all(folder.exists() for folder in folders):
            own = {} if config.datasets[name].may_be_passed_on else {"push": False}
            outs = [{"path": str(folder.relative_to(DATA)), **own} for folder in folders]
            files[DATA / f"{slug}.dvc"] = {"outs": outs}
    return files


def _link(folders: list[Path]) -> Path | None:
    """Return the first link on the way to any of these folders."""
    ways = ([*reversed(folder.parents), folder] for folder in folders)
    return next((path for way in ways for path in way if path.is_symlink()), None)


def begin(files: dict[Path, dict[str, Any]]) -> None:
    """Write the ``.dvc`` files that are not there yet."""
    for file, content in files.items():
        if not file.exists():
            with atomic_file(file) as unfinished:
                unfinished.write_text(yaml.safe_dump(content, sort_keys=False), "utf-8")


def _outputs(file: Path) -> list[Path]:
    """Return what a ``.dvc`` file tracks."""
    return [file.parent / out["path"] for out in _read(file)["outs"]]


def _pushed(file: Path) -> bool:
    return all(out.get("push", True) for out in _read(file)["outs"])


def _up_to_date(targets: list[str]) -> bool:
    done = _dvc("status", "--json", *targets)
    return done.returncode == 0 and done.stdout.strip() == "{}"


def _commit(targets: list[str]) -> None:
    done = _dvc("commit", "--force", *targets)
    if done.returncode:
        raise UserError(
            f"{_last(done.stderr)} To record at once: dvc commit -f {' '.join(targets)}"
        )
    _say(f"recorded {', '.join(targets)}; keep it with `git commit` and `dvc push`")


def _pull(arguments: list[str]) -> None:
    if subprocess.run([sys.executable, "-m", "dvc", "pull", *arguments]).returncode:
        raise UserError(
            "`dvc pull` did not bring back everything, as it says above. `dvc remote list` names "
            "the remote; `dvc push`, where the files still are, completes it; `snakemake` makes "
            "what is missing anew"
        )


def _dvc(*arguments: str) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-m", "dvc", *arguments]
    return subprocess.run(words, capture_output=True, text=True, stdin=subprocess.DEVNULL)


def _last(text: str) -> str:
    """Return the last error that a command printed, or its last line."""
    lines = [line.strip() for line in text.splitlines() if line.strip()] or ["no reason given"]
    return next((line for line in reversed(lines) if "rror" in line), lines[-1])


def _say(text: str) -> None:
    print(f"maml: {text}", file=sys.stderr)
