"""From a data set's files to the one array that everything else reads."""

import json
from pathlib import Path

import numpy as np

from maml.configuration.schema import Dataset
from maml.data.formats import FORMATS
from maml.data.raw import again, verified_source
from maml.data.store import Mismatch, content_digest
from maml.files import locks
from maml.files.atomic import check_replaceable
from maml.files.errors import UserError


def prepare(name: str, dataset: Dataset, raw: Path, out: Path) -> None:
    """Write ``out/images.npy`` and ``out/dataset.json`` (see :mod:`maml.data.store`).

    Raises:
        UserError: a file is not the one that was downloaded, or its content is not the data set's;
            nothing is left behind. Or ``out`` is something else than a prepared data set.
    """
    check_replaceable(out, "dataset.json")
    source = verified_source(raw)
    with locks.replacing(out) as folder:
        target = folder / "images.npy"
        try:
            names, split, preprocessing = FORMATS[dataset.format].prepare(dataset, raw, target)
        except Mismatch as error:
            raise Mismatch(f"{error}. If that is right, {again(raw)}") from error
        except UserError as error:
            raise UserError(f"{error}; {again(raw)}, from another mirror if need be") from error
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
