"""Load NumPy arrays from a pickle that somebody else made, and run nothing that it names.

A pickle is a program that calls whatever it names. Here it can name what arrays, rows of numbers
and dictionaries are made of, and gets stand-ins for all of them: they check what they are given.
"""

import math
import pickle
import re
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from maml.files.errors import UserError

_NUMPY = ("numpy.core.multiarray", "numpy._core.multiarray")  # before and since NumPy 2
_NDARRAY = object()  # what the pickle gets for numpy.ndarray: a name, and nothing to call
_FACTORY = object()  # and for what a defaultdict makes


class _Type:
    """Stands for ``numpy.dtype``: numbers and fixed-length strings only, no objects, no fields."""

    def __init__(self, name: str, align: object = False, copy: object = True) -> None:
        if not re.fullmatch(r"[biufSU][0-9]+", name):
            raise UserError(f"the dtype {name!r} is not one of numbers or strings")
        self.dtype = np.dtype(name)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        order, *structure = state[1:5]
        if structure != [None, None, None]:
            raise UserError("a structured dtype is not one of numbers or strings")
        self.dtype = self.dtype.newbyteorder(order)


class _Array(np.ndarray):
    """An array whose content a pickle sets: only as many bytes as its shape needs."""

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, kind, fortran_order, raw = state
        # Python 2 stored bytes as text, which Python 3 reads as one latin-1 letter a byte
        raw = raw.encode("latin-1") if isinstance(raw, str) else raw
        if type(kind) is not _Type or type(raw) is not bytes:
            raise UserError("an array holds something else than numbers or strings")
        if min(shape, default=0) < 0 or len(raw) != math.prod(shape) * kind.dtype.itemsize:
            raise UserError(f"an array of shape {shape} has {len(raw)} bytes")
        super().__setstate__((1, shape, kind.dtype, bool(fortran_order), raw))


def _reconstruct(subtype: object, shape: object, kind: object) -> _Array:
    if subtype is not _NDARRAY:
        raise UserError("an array is of a subclass of numpy.ndarray")
    return np.ndarray.__new__(_Array, (0,), np.int8)  # __setstate__ follows with shape and type


def _scalar(kind: _Type, raw: bytes | str) -> np.generic:
    raw = raw.encode("latin-1") if isinstance(raw, str) else raw
    return np.frombuffer(raw, kind.dtype, count=1)[0]


def _encode(text: str, codec: str) -> bytes:
    if codec not in ("latin1", "latin-1"):
        raise UserError(f"the codec {codec!r} is not latin-1")
    return text.encode("latin-1")


def _frombuffer(raw: bytes, kind: _Type, shape: tuple[int, ...], order: str) -> _Array:
    """Make an array as protocol 5 stores it."""
    array = _reconstruct(_NDARRAY, None, None)
    array.__setstate__((1, shape, kind, order == "F", raw))
    return array


def _defaultdict(factory: object = None, *pairs: object) -> dict:
    return dict(*pairs)


_BUILTINS = ("builtins", "__builtin__")  # in Python 3 and 2
_FACTORIES = ("list", "dict", "int", "long")
_ALLOWED = {
    ("numpy", "ndarray"): _NDARRAY,
    ("numpy", "dtype"): _Type,
    ("_codecs", "encode"): _encode,  # how protocol 2 stores bytes
    **{(module, "_reconstruct"): _reconstruct for module in _NUMPY},
    **{(module, "scalar"): _scalar for module in _NUMPY},
    ("numpy.core.numeric", "_frombuffer"): _frombuffer,
    ("numpy._core.numeric", "_frombuffer"): _frombuffer,
    **{(module, name): range for module in _BUILTINS for name in ("range", "xrange")},
    **{(module, name): _FACTORY for module in _BUILTINS for name in _FACTORIES},
    ("collections", "OrderedDict"): dict,
    ("collections", "defaultdict"): _defaultdict,
}


class _Unpickler(pickle._Unpickler):
    """The reader in Python: in C, twelve bytes can ask for a memo that fills the memory.

    On the real files both take as long.
    """

    def find_class(self, module: str, name: str) -> Any:
        try:
            return _ALLOWED[module, name]
        except KeyError:
            raise UserError(f"it names {module}.{name}, which no data set needs") from None

    def load_build(self) -> None:
        if not isinstance(self.stack[-2], _Type | _Array):
            raise UserError("it sets attributes of something else than an array")
        super().load_build()

    def load_bytearray8(self) -> None:
        """Read what Python would first fill with as many zeros as the pickle says."""
        self.append(self.read(int.from_bytes(self.read(8), "little")))

    dispatch: ClassVar = {
        **pickle._Unpickler.dispatch,
        ord(pickle.BUILD): load_build,
        ord(pickle.BYTEARRAY8): load_bytearray8,
    }


def load(path: Path) -> object:
    """Load a pickle (protocol 5 or lower) of arrays, numbers, strings and containers.

    Strings that Python 2 wrote are read as latin-1. Needs about twice the file's size in
    memory for a moment.

    Raises:
        UserError: the pickle names anything else (nothing of it has run then), holds objects in an
            array, or is cut short or no pickle at all, such as a web page saved under its name.
    """
    with path.open("rb") as file:
        if file.read(1) == b"<":
            raise UserError(f"{path} is a web page and not a pickle")
        file.seek(0)
        try:
            return _Unpickler(file, encoding="latin1").load()
        except UserError as error:
            raise UserError(f"refused to load {path}: {error}") from error
        except MemoryError as error:
            raise UserError(f"not enough memory to load {path}") from error
        except Exception as error:  # a damaged pickle can raise nearly anything
            raise UserError(f"{path} is cut short or damaged ({error})") from error
