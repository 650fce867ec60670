"""mini-ImageNet as a folder of images: found in a mirror, and packed by class."""

import io
import os
import tarfile
from collections import defaultdict
from pathlib import Path

from maml.data.archives import IMAGES
from maml.data.miniimagenet import class_of, official_split
from maml.files.systemfiles import is_system_file


def split_classes() -> list[str]:
    """Return the split's classes, in its order."""
    return [name for of_split in official_split().values() for name in sorted(of_split)]


def find_images(root: Path) -> dict[str, list[Path]]:
    """Return the images of each of the split's classes that a folder holds, at any depth."""
    images: dict[str, list[Path]] = defaultdict(list)
    visited = set()
    for folder, folders, files in os.walk(root, followlinks=True):
        if os.path.realpath(folder) in visited:  # a link that leads back
            folders.clear()
            continue
        visited.add(os.path.realpath(folder))
        folders[:] = sorted(name for name in folders if not is_system_file(name))
        for path in (Path(folder, name) for name in sorted(files)):
            if path.suffix.lower() in IMAGES and not is_system_file(path.name):
                images[class_of(path)].append(path)
    return {name: images[name] for name in sorted(split_classes()) if name in images}


def pack(images: dict[str, list[Path]], folder: Path) -> None:
    """Pack images into one archive a class."""
    for of_class, paths in images.items():
        with tarfile.open(folder / f"{of_class}.tar", "w") as archive:
            for path in paths:
                content = path.read_bytes()
                member = tarfile.TarInfo(f"{of_class}/{path.name}")
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
