"""Files that went wrong, for hypothesis to search among."""

import json
from collections.abc import Callable, Sequence
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st

from maml.files.errors import UserError

searched = settings(max_examples=settings.default.max_examples // 4)
"""Of each of these tests: 25 examples in the suite, 4,000 in ``make fuzz``."""

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda part: (
        st.lists(part, max_size=3) | st.dictionaries(st.text(max_size=8), part, max_size=3)
    ),
    max_leaves=6,
)
NUMBERS = st.sampled_from([b"\x00", b"\xff", b"\xff\xff\xff\x7f", b"\xff" * 8, b"\x00" * 8])


@st.composite
def damaged(draw, whole: bytes, tokens: Sequence[bytes] = ()) -> bytes:
    """Return a file in which bytes are flipped, lost, moved or put in, here and there.

    Args:
        draw: hypothesis's.
        whole: the file as it should be.
        tokens: what the format is made of, to be put in.
    """
    pieces = NUMBERS | st.binary(min_size=1, max_size=4)
    if tokens:
        pieces |= st.sampled_from(list(tokens))
    content = bytearray(whole)
    for _ in range(draw(st.integers(1, 5))):
        at = draw(st.integers(0, max(0, len(content) - 1)))
        match draw(st.sampled_from(["flip", "overwrite", "insert", "lose", "copy", "cut"])):
            case "flip" if content:
                content[at] ^= 1 << draw(st.integers(0, 7))
            case "overwrite":
                piece = draw(pieces)
                content[at : at + len(piece)] = piece
            case "insert":
                content[at:at] = draw(pieces)
            case "lose":
                del content[at : at + draw(st.integers(1, 40))]
            case "copy":
                start = draw(st.integers(0, max(0, len(content) - 1)))
                content[at:at] = content[start : start + draw(st.integers(1, 40))]
            case "cut":
                del content[at:]
    return bytes(content)


@st.composite
def changed(draw, document: Any) -> Any:
    """Return a JSON document in which one value, at any depth, is another one or gone."""
    document = json.loads(json.dumps(document))
    if not isinstance(document, dict | list) or not document or draw(st.integers(0, 9)) == 0:
        return draw(JSON)
    keys = list(document) if isinstance(document, dict) else range(len(document))
    key = draw(st.sampled_from(list(keys)))
    if draw(st.integers(0, 4)) == 0:
        del document[key]
    else:
        document[key] = draw(changed(document[key]))
    return document


def answered(read: Callable[[], object]) -> None:
    """Let a reader read, or answer with one line; any other exception is a defect."""
    try:
        read()
    except UserError as error:
        message = str(error)
        assert message
        assert message.isprintable()
