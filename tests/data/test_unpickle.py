import os
import pickle
import resource
from collections import OrderedDict, defaultdict

import numpy as np
import pytest

from maml.data.unpickle import load
from maml.files.errors import UserError


class Call:
    """Pickles as a call of ``function(*arguments)``."""

    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


@pytest.fixture
def write(tmp_path):
    def to(content, protocol=2):
        path = tmp_path / "cache.pkl"
        raw = content if isinstance(content, bytes) else pickle.dumps(content, protocol=protocol)
        path.write_bytes(raw)
        return path

    return to


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
@pytest.mark.parametrize("dtype", ["u1", ">i4", "<f8", "?", "S3", "U2"])
def test_arrays_come_back_as_they_were(write, protocol, dtype):
    array = np.arange(2 * 3 * 4).reshape(2, 3, 4).astype(dtype)
    saved = {"image_data": array, "fortran": np.asfortranarray(array), "rows": {"n01": [0, 1]}}
    loaded = load(write(saved, protocol))
    assert loaded["rows"] == {"n01": [0, 1]}
    for name in ("image_data", "fortran"):
        np.testing.assert_array_equal(loaded[name], array)
        assert loaded[name].dtype == array.dtype.newbyteorder("=")


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
def test_rows_and_dictionaries_of_every_kind(write, protocol):
    """What people make the classes' rows of."""
    rows = {
        "range": range(2, 8, 3),
        "ordered": OrderedDict(a=[1], b=[2]),
        "default": defaultdict(list, {"a": [1]}),
        "counts": defaultdict(int, {"a": 1}),
        "none": defaultdict(None, {"a": 1}),
        "tuple": (1, 2),
    }
    loaded = load(write({**rows}, protocol))
    assert loaded == rows
    assert all(type(loaded[name]) is dict for name in ("ordered", "default", "counts", "none"))


def test_an_ordered_dictionary_as_python_2_wrote_it(write):
    raw = b"\x80\x02ccollections\nOrderedDict\n](](U\x01aK\x01e](U\x01bK\x02ee\x85R."
    assert load(write(raw)) == {"a": 1, "b": 2}


@pytest.mark.parametrize("name", [b"list", b"dict", b"int"])
def test_what_a_default_is_made_by_is_a_name_only(write, name):
    called = b"\x80\x02c__builtin__\n" + name + b"\n(](K\x01K\x02eetR."
    with pytest.raises(UserError, match="damaged"):
        load(write(called))


def test_a_claim_of_many_bytes_does_not_fill_the_memory(write):
    """Python's reader would first make an array of so many zeros."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for claimed in (2**33, 2**62):
        with pytest.raises(UserError, match=r"cache\.pkl"):
            load(write(b"\x80\x05\x96" + claimed.to_bytes(8, "little") + b"abc."))
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert after - before < 2**20  # kilobytes on Linux, bytes on macOS


def test_all_byte_values_survive_latin_1(write):
    array = np.arange(256, dtype=np.uint8)
    np.testing.assert_array_equal(load(write(array)), array)


def test_scalars(write):
    assert load(write([np.int64(7), np.float32(0.5), np.uint8(200)])) == [7, 0.5, 200]


@pytest.mark.parametrize("module", [b"numpy.core.multiarray", b"numpy._core.multiarray"])
def test_bytes_as_python_2_wrote_them(write, module):
    """Python 2 wrote str for bytes: SHORT_BINSTRING (U), here of the bytes 0, 128 and 255."""
    raw = (
        b"\x80\x02c" + module + b"\n_reconstruct\n"
        b"cnumpy\nndarray\nK\x00\x85U\x01b\x87R"
        b"(K\x01K\x03\x85cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R"
        b"(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
        b"\x89U\x03\x00\x80\xfftb."
    )
    loaded = load(write(raw))
    np.testing.assert_array_equal(loaded, np.array([0, 128, 255], np.uint8))


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (Call(os.system, "true"), "system"),
        (Call(eval, "1"), "eval"),
        (Call(getattr, "a", "upper"), "getattr"),
        (Call(np.load, "x.npy"), "load"),
        (np.ma.masked_array([1]), "_mareconstruct"),
    ],
)
@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
def test_every_other_name_is_refused(write, call, named, protocol):
    path = write({"image_data": call}, protocol)
    with pytest.raises(UserError, match=f"(?s)cache.pkl.*{named}"):
        load(path)


def test_a_refused_call_has_not_run(write, tmp_path):
    trace = tmp_path / "ran"
    with pytest.raises(UserError, match="mkdir"):
        load(write(Call(os.mkdir, str(trace))))
    assert not trace.exists()


def test_only_arrays_and_their_types_can_be_changed(write):
    """A function or a class, named and not called, keeps its attributes."""
    for name in (b"c_codecs\nencode\n", b"cnumpy\ndtype\n", b"cnumpy\nndarray\n"):
        with pytest.raises(UserError, match="sets attributes of something else"):
            load(write(b"\x80\x02" + name + b"N}U\x04evilK\x01s\x86b."))


def test_other_codecs_are_refused(write):
    raw = b"\x80\x02c_codecs\nencode\nX\x01\x00\x00\x00aX\x05\x00\x00\x00rot13\x86R."
    with pytest.raises(UserError, match="rot13"):
        load(write(raw))


@pytest.mark.parametrize(
    "array",
    [
        np.array([{}, []], dtype=object),
        np.zeros(2, dtype=[("a", "u1"), ("b", object)]),
        np.zeros(2, dtype=[("a", "u1")]),
        np.zeros(2, dtype="M8[s]"),
    ],
    ids=["object", "object field", "fields", "dates"],
)
def test_only_arrays_of_numbers_and_strings(write, array):
    with pytest.raises(UserError, match="numbers or strings"):
        load(write(array))


@pytest.mark.parametrize("dimension", [b"K\x04", b"J\xfd\xff\xff\xff", b"K\x02"])
def test_a_shape_that_its_bytes_do_not_fill_is_refused(write, dimension):
    raw = pickle.dumps(np.zeros(3, np.uint8), protocol=2)
    assert raw.count(b"K\x03\x85") == 1
    with pytest.raises(UserError, match="has 3 bytes"):
        load(write(raw.replace(b"K\x03\x85", dimension + b"\x85")))


def test_every_truncation_is_an_error(write):
    raw = pickle.dumps({"image_data": np.arange(9, dtype=np.uint8)}, protocol=2)
    for length in range(len(raw)):
        with pytest.raises(UserError, match=r"cache\.pkl"):
            load(write(raw[:length]))


def test_a_web_page_is_called_one(write):
    with pytest.raises(UserError, match="web page"):
        load(write(b"<!DOCTYPE html><html>Quota exceeded</html>"))
