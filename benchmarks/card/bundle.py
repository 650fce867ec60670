"""``make card-bundle``: what a machine without a network needs, in ``card/`` and one archive."""

import argparse
import re
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from benchmarks.card.plan import BUNDLE, DATA, ROOT
from maml.configuration import config
from maml.data.download import download
from maml.data.prepare import prepare
from maml.files.atomic import atomic_file, atomic_folder
from maml.files.errors import UserError

PYTHON = "3.12"
PLATFORMS = [f"manylinux_2_{minor}_x86_64" for minor in (28, 27, 17)] + [
    f"manylinux{name}_x86_64" for name in ("2014", "1")
]
PACKAGES = (
    *("pydantic", "pydantic-core", "annotated-types", "typing-inspection", "typing-extensions"),
    *("typer", "click", "shellingham", "annotated-doc"),
    *("rich", "markdown-it-py", "mdurl", "pygments"),
    *("pandas", "python-dateutil", "six", "tabulate"),
    *("filelock", "pyyaml", "safetensors", "pillow", "pooch", "platformdirs"),
    *("requests", "urllib3", "certifi", "idna", "charset-normalizer"),
    *("pytest", "pytest-timeout", "pluggy", "iniconfig", "packaging"),
    *("hypothesis", "sortedcontainers"),
)
"""What training, evaluation and the tests for a GPU need beside PyTorch and NumPy."""
FOLDERS = ("src", "benchmarks", "tests", "workflow/presets")
FILES = ("config.yaml", "pyproject.toml", "Makefile", "LICENSE", "README.md")
ARCHIVE = ROOT / "card.tar.gz"
MOST_BYTES = 60 * 2**20


def main(arguments: list[str] | None = None) -> None:
    """Fill the folder, and pack it with the project."""
    parser = argparse.ArgumentParser(prog="card-bundle", description=__doc__.splitlines()[0])
    parser.add_argument("--python", default=PYTHON, help="the machine's version, as 3.12")
    asked = parser.parse_args(arguments)
    try:
        fetch_wheels(BUNDLE / "wheels", asked.python)
        if not DATA.exists():
            prepare_omniglot(DATA)
        pack(ARCHIVE)
    except UserError as error:
        sys.exit(f"card: {error}")
    print(f"{ARCHIVE} has {ARCHIVE.stat().st_size / 2**20:.1f} MiB; {BUNDLE} is what it adds.")


def fetch_wheels(out: Path, python: str) -> None:
    """Fetch the wheels in the versions of requirements.lock, and check their digests."""
    with atomic_folder(out) as folder, tempfile.TemporaryDirectory() as scratch:
        wanted = Path(scratch) / "wanted.txt"
        lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")
        wanted.write_text(locked(lock, PACKAGES), encoding="utf-8")
        platforms = [part for name in PLATFORMS for part in ("--platform", name)]
        command = [
            *(sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"),
            *("--only-binary=:all:", "--python-version", python, "--implementation", "cp"),
            *(*platforms, "--require-hashes", "-r", str(wanted), "-d", str(folder)),
        ]
        if subprocess.run(command, check=False).returncode:
            raise UserError("the wheels could not be fetched; what pip says stands above")


def locked(lock: str, packages: tuple[str, ...]) -> str:
    """Return the entries of some packages, with their digests and without their markers.

    Raises:
        UserError: one is not in the lock file.
    """
    entries = dict(re.findall(r"^([a-z0-9-]+)(==[^\n]+\n(?:[ \t]+[^\n]*\n?)*)", lock, re.MULTILINE))
    if missing := [name for name in packages if name not in entries]:
        raise UserError(f"requirements.lock does not have {', '.join(missing)}")
    found = "".join(f"{name}{entries[name]}" for name in packages)
    found = re.sub(r" ;[^\\\n]*", " ", found)
    return re.sub(r"^ *#.*\n", "", found, flags=re.MULTILINE)


def prepare_omniglot(out: Path) -> None:
    """Prepare the Omniglot that ships with the project."""
    dataset = config.read([ROOT / "config.yaml"]).datasets["omniglot"]
    dataset = dataset.model_copy(update={"source": "bundled"})
    with tempfile.TemporaryDirectory() as scratch:
        raw = Path(scratch) / "raw"
        download(dataset, raw, None)
        prepare("omniglot", dataset, raw, out)


def pack(archive: Path) -> None:
    """Pack the project and the folder.

    Raises:
        UserError: both together are too large to be carried.
    """
    size = 0

    def kept(info: tarfile.TarInfo) -> tarfile.TarInfo | None:
        nonlocal size
        if Path(info.name).name in ("__pycache__", ".pytest_cache", ".hypothesis"):
            return None
        info.uid = info.gid = 0
        info.uname = info.gname = ""
        size += info.size
        return info

    with atomic_file(archive) as unfinished, tarfile.open(unfinished, "w:gz") as file:
        for name in (*FOLDERS, *FILES, BUNDLE.name):
            file.add(ROOT / name, f"maml/{name}", filter=kept)
        if size > MOST_BYTES:
            raise UserError(
                f"the project and {BUNDLE} have {size / 2**20:.0f} MiB, more than "
                f"{MOST_BYTES / 2**20:.0f}; take packages out of benchmarks/card/bundle.py"
            )


if __name__ == "__main__":
    main()
