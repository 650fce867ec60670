"""From a data set's files to the one array that everything else reads."""

import json
from pathlib import Path

import numpy as np

from maml.configuration.schema import Dataset
from maml.data import miniimagenet, omniglot
from maml.data.store import Mismatch, content_digest
from maml.files.atomic import atomic_folder, check_replaceable
from maml.files.errors import UserError
from maml.files.provenance import file_digest

SNAKEMAKES = ".snakemake_timestamp"  # Snakemake puts it into each folder that a rule makes


def prepare(name: str, dataset: Dataset, raw: Path, out: Path) -> None:
    """Write ``out/images.npy`` and ``out/dataset.json`` (see :mod:`maml.data.store`).

    Raises:
        UserError: a file is not the one that was downloaded, or its content is not the data set's;
            nothing is left behind. Or ``out`` is something else than a prepared data set.
    """
    check_replaceable(out, "dataset.json")
    source = _verified_source(raw)
    with atomic_folder(out) as folder:
        target = folder / "images.npy"
        try:
            if dataset.format == "omniglot":
                images, names, split, preprocessing = omniglot.prepare(dataset, raw)
                np.save(target, images)
            else:
                names, split, preprocessing = miniimagenet.prepare(dataset, raw, target)
        except Mismatch as error:
            raise Mismatch(f"{error}. If that is right, {_again(raw)}") from error
        except UserError as error:
            raise UserError(f"{error}; {_again(raw)}, from another mirror if need be") from error
        images = np.load(target, mmap_mode="r")
        about = {
            "name": name,
            "source": source,
            "preprocessing": preprocessing,
            "shape": images.shape,
            "digest": content_digest(images, names, split),
            "classes": [
                {"name": of_class, "split": of_split}
                for of_class, of_split in zip(names, split, strict=True)
            ],
        }
        text = json.dumps(about, indent=1) + "\n"
        (folder / "dataset.json").write_text(text, encoding="utf-8")


def _again(raw: Path) -> str:
    return f"remove {raw} and run `snakemake download` again"


def _verified_source(raw: Path) -> str:
    """Return where the raw files came from, after comparing each with what was downloaded."""
    again = _again(raw)
    try:
        about = json.loads((raw / "source.json").read_text(encoding="utf-8"))
        source, files = about["source"], about["files"]
        extra = {path.name for path in raw.iterdir()} - {"source.json", SNAKEMAKES, *files}
        if extra:
            raise UserError(f"{raw} has files that were not downloaded: {sorted(extra)}; {again}")
        for name, recorded in files.items():
            if file_digest(raw / name) != recorded["sha256"]:
                raise UserError(f"{raw / name} has changed since it was downloaded; {again}")
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UserError(f"{raw} is not a whole download ({error}); {again}") from error
    return source
