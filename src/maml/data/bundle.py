"""Make the copy of Omniglot that ships with the project: 32,460 drawings in 3 MB."""

import json
from importlib import resources
from pathlib import Path

from maml.data.omniglot import BUNDLE, SIDE, read_archives
from maml.files import locks
from maml.files.atomic import check_replaceable
from maml.files.compressed import pack
from maml.files.errors import UserError


def bundle(raw: Path, out: Path) -> None:
    """Pack the drawings of the two official archives in ``raw`` into the folder ``out``.

    The same archives give the same bytes.

    Raises:
        UserError: the archives are missing or damaged, or a drawing is not named
            ``<id>_<drawer>.png`` by drawers 01, 02, ….
    """
    about_name, bits_name = BUNDLE
    check_replaceable(out, about_name)
    drawings = read_archives(raw)
    count = drawings.bits.shape[1]
    classes = []
    for name, files in zip(drawings.classes, drawings.files, strict=True):
        identity = files[0].rsplit("_", 1)[0]
        if files != [f"{identity}_{drawer:02d}.png" for drawer in range(1, count + 1)]:
            raise UserError(f"{raw}: the drawings of {name} are not named <id>_<drawer>.png")
        classes.append({"name": name, "file": identity})
    about = {
        "what": "Omniglot's drawings: uint8 rows of numpy.packbits, one a drawing, ink = 0, in the "
        "order of the classes below and of the drawers; xz-compressed.",
        "origin": "https://github.com/brendenlake/omniglot (MIT, see LICENSE)",
        "side": SIDE,
        "drawings": count,
        "digest": drawings.digest(),
        "classes": classes,
    }
    with locks.replacing(out) as folder:
        (folder / about_name).write_text(json.dumps(about, indent=0) + "\n", encoding="utf-8")
        (folder / bits_name).write_bytes(pack(drawings.bits.tobytes()))
        licence = resources.files("maml.data").joinpath("bundled", "LICENSE")
        (folder / "LICENSE").write_bytes(licence.read_bytes())
