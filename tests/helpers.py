"""What several tests need."""

import io
import json
import stat
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import torch

from maml.algorithm.maml import MetaGradient
from maml.compute.session import Session
from maml.configuration.config import Job
from maml.configuration.schema import Classes, Dataset
from maml.files.provenance import file_digest

ROOT = Path(__file__).parent.parent

SMALL = {
    "omniglot": Dataset(
        format="omniglot",
        source="synthetic",
        classes=Classes(train=6, val=3, test=4),
        images_per_class=20,
        image_size=28,
        resize="nearest",
        split_seed=0,
    ),
    "miniimagenet": Dataset(
        format="miniimagenet",
        source="synthetic",
        classes=Classes(train=3, val=2, test=2),
        images_per_class=4,
        image_size=84,
        resize="lanczos",
        split_seed=0,
    ),
}
"""Format → a data set of 13 characters of 20 drawings, or of 7 classes of 4 pictures."""


def slightly_wrong(meta_gradient: Callable[..., MetaGradient]) -> Callable[..., MetaGradient]:
    """Return the same function, but for one layer's gradient, which is off by a millionth."""

    def wrong(*arguments, **named):
        result = meta_gradient(*arguments, **named)
        result.gradient["conv2.weight"] *= 1 + 1e-6
        return result

    return wrong


def without_data(job: Job) -> Session:
    """Return as much of a session as a training's state needs."""
    return Session(job=job, device=torch.device("cpu"), dtype=torch.float32, data=None, images=None)


def record(raw: Path) -> Path:
    """Write source.json for the files in a raw folder, whatever they are."""
    files = {
        path.name: {"size": path.stat().st_size, "sha256": file_digest(path)}
        for path in raw.iterdir()
        if path.name != "source.json"
    }
    (raw / "source.json").write_text(json.dumps({"source": "drawn for a test", "files": files}))
    return raw


def pack(path, members, kinds=None):
    """Write an archive of (name, content) pairs; kinds: name → tarfile type."""
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in members:
                info = zipfile.ZipInfo(name)
                info.compress_type = zipfile.ZIP_DEFLATED
                mode = stat.S_IFLNK if name in (kinds or {}) else stat.S_IFREG
                info.external_attr = (mode | 0o644) << 16
                archive.writestr(info, content)
    else:
        compressions = {
            "xz": "xz",
            "txz": "xz",
            "gz": "gz",
            "tgz": "gz",
            "bz2": "bz2",
            "tbz2": "bz2",
        }
        compression = compressions.get(path.suffix[1:], "")
        with tarfile.open(path, f"w:{compression}") as archive:
            for name, content in members:
                info = tarfile.TarInfo(name)
                if name in (kinds or {}):
                    info.type, info.linkname = kinds[name], "/etc/passwd"
                else:
                    info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
    return path


def rewrite(archive: Path, change) -> None:
    """Rewrite a zip; change(name, content) returns the new pair, or None to leave it out."""
    with zipfile.ZipFile(archive) as file:
        members = [change(name, file.read(name)) for name in file.namelist()]
    with zipfile.ZipFile(archive, "w") as file:
        for name, content in filter(None, members):
            file.writestr(name, content)
