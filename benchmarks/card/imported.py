"""``make card-import FROM=FOLDER``: file what a card has shown, beside the other results."""

import argparse
import json
import shutil
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.card import page
from benchmarks.card.plan import RECORD, ROOT, TRAINED
from benchmarks.card.record import Record
from benchmarks.device.run import beside
from maml.files.atomic import atomic_folder
from maml.files.errors import UserError
from maml.files.paths import WEIGHTS
from maml.files.provenance import file_digest
from maml.files.unpacking import extract_all
from maml.training import weights

OUT = ROOT / "results" / "card"  # and the device's name
EVALUATION = "evaluation.csv"
FILES = (*(f"{name}.safetensors" for name in WEIGHTS), "curve.csv", "training.json", EVALUATION)


def main(arguments: list[str] | None = None) -> None:
    """File a folder of results."""
    parser = argparse.ArgumentParser(prog="card-import", description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="what `make card` made")
    parser.add_argument("--out", type=Path, default=OUT, help="beside which the folder is made")
    asked = parser.parse_args(arguments)
    try:
        print(f"Page, record and trained networks are in {file_results(asked.folder, asked.out)}.")
    except UserError as error:
        sys.exit(f"card: {error}")


def file_results(folder: Path, out: Path) -> Path:
    """Write card.md, card.jsonl and the evaluated networks to a folder that names the device.

    Raises:
        UserError: there is no record, or a network is not what its evaluation says, or the folder
            holds what was filed before.
    """
    record = Record(folder / RECORD)
    about = record.results("versions").get("about")
    if about is None:
        raise UserError(f"{folder} holds no {RECORD} that says which device it is of")
    target = beside(out, about["device"]["name"])
    if target.exists() and any(target.iterdir()):  # a card's only record, and pages name it
        raise UserError(
            f"{target} holds what was filed before; name another folder with --out (make "
            f"card-import OUT={out}-again), or move it"
        )
    with tempfile.TemporaryDirectory() as scratch:
        networks = _networks(folder / TRAINED, Path(scratch))
        origins = [_checked(network) for network in networks]
        with atomic_folder(target) as unfinished:
            shutil.copy(record.path, unfinished / RECORD)
            text = "\n".join(page.paragraphs(record, origins)) + "\n"
            (unfinished / "card.md").write_text(text, encoding="utf-8")
            for network, origin in zip(networks, origins, strict=True):
                kept = unfinished / origin["experiment"] / origin["method"]
                kept = kept / f"seed-{origin['seed']}"
                kept.mkdir(parents=True)
                for name in FILES:
                    shutil.copy(network / name, kept / name)
    return target


def _networks(archive: Path, scratch: Path) -> list[Path]:
    """Unpack what was trained; return the folders of evaluated networks."""
    if not archive.is_file():
        return []
    with tarfile.open(archive) as file:
        extract_all(file, scratch)
    return sorted(path.parent for path in scratch.glob(f"results/**/{EVALUATION}"))


def _checked(network: Path) -> dict[str, Any]:
    """Return what an evaluation's first line says, once it is found to be of these weights."""
    with (network / EVALUATION).open(encoding="utf-8") as file:
        origin = json.loads(file.readline().removeprefix("# "))
    for name in WEIGHTS:
        path = network / f"{name}.safetensors"
        weights.load(path)
        if file_digest(path) != origin["weights"][name]:
            raise UserError(f"{path} is not what was evaluated; bring the card's files again")
    return origin


if __name__ == "__main__":
    main()
