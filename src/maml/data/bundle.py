"""Make the copy of Omniglot that ships with the project: 32,460 drawings in 3 MB."""

import json
import lzma
from pathlib import Path

from maml.data.omniglot import BUNDLE, SIDE, read_archives
from maml.files import locks
from maml.files.atomic import check_replaceable
from maml.files.errors import UserError

LICENSE = """\
The MIT License (MIT)

Copyright (c) 2015 Brenden Lake

Permission is hereby granted, free of charge, to any person obtaining a copy
of this software and associated documentation files (the "Software"), to deal
in the Software without restriction, including without limitation the rights
to use, copy, modify, merge, publish, distribute, sublicense, and/or sell
copies of the Software, and to permit persons to whom the Software is
furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all
copies or substantial portions of the Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR
IMPLIED, INCLUDING BUT NOT LIMITED TO THE WARRANTIES OF MERCHANTABILITY,
FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE
AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER
LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM,
OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE
SOFTWARE.
"""


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
        packed = lzma.compress(drawings.bits.tobytes(), preset=9 | lzma.PRESET_EXTREME)
        (folder / bits_name).write_bytes(packed)
        (folder / "LICENSE").write_text(LICENSE, encoding="utf-8")
