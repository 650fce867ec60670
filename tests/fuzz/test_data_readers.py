"""Archives, images, pickles and the like: read, or answered in one line, whatever is in them.

The suite tries the same few files each time; ``make fuzz`` searches for minutes.
"""

import io
import json
import lzma
import pickle

import numpy as np
import pytest
from helpers import SMALL, pack
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from fuzz.damage import answered, changed, damaged, searched
from maml.configuration.schema import Classes
from maml.data import archives, miniimagenet, omniglot, store
from maml.data.images import decode
from maml.data.mirrors import read_sums
from maml.data.prepare import prepare

DATASET = SMALL["miniimagenet"].model_copy(
    update={
        "classes": Classes(train=1, val=1, test=1),
        "images_per_class": 2,
        "image_size": 8,
    }
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder that all examples of a test share."""
    return tmp_path_factory.mktemp("fuzz")


def encoded(mode: str, format: str) -> bytes:
    """Return the file of a noisy image."""
    noise = np.random.default_rng(0).integers(0, 256, (20, 20, 3), np.uint8)
    content = io.BytesIO()
    Image.fromarray(noise).convert(mode).save(content, format)
    return content.getvalue()


IMAGES = [encoded("1", "png"), encoded("RGB", "png"), encoded("P", "png"), encoded("RGB", "jpeg")]
PACKED = lzma.compress(bytes(2 * 1379))
CHUNKS = [b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS", b"iCCP", b"zTXt", b"\xff\xd9", b"\xff\xc2"]


@searched
@given(st.sampled_from(IMAGES).flatmap(lambda image: damaged(image, CHUNKS)))
def test_images(content):
    answered(lambda: decode(content, "image.png", "RGB"))
    answered(lambda: decode(content, "image.png", "1", size=(20, 20), modes=("1", "L")))


def archive_of(folder, suffix: str) -> bytes:
    members = [("a/one.png", IMAGES[0]), ("a/two.jpg", IMAGES[3]), ("b/readme.txt", b"text")]
    return pack(folder / f"whole{suffix}", members).read_bytes()


@pytest.mark.parametrize("suffix", archives.SUFFIXES)
@searched
@given(data=st.data())
def test_archives(folder, suffix, data):
    whole = archive_of(folder, suffix)
    path = folder / f"archive{suffix}"
    path.write_bytes(data.draw(damaged(whole, [b"PK\x01\x02", b"PK\x03\x04", b"../", b"ustar"])))
    answered(lambda: list(archives.read_images(path)))


ROWS = {f"n0000000{number}": [0, 1] for number in (1, 2, 3)}
PICTURES = np.arange(2 * 2 * 2 * 3, dtype=np.uint8).reshape(2, 2, 2, 3)
PICKLES = [
    pickle.dumps({"image_data": PICTURES, "class_dict": {of_class: rows}}, protocol)
    for protocol in (0, 2, 4)
    for of_class, rows in ROWS.items()
]
OPCODES = [bytes([code]) for code in range(256)]
GLOBALS = [b"cnumpy\nndarray\n", b"cnumpy\ndtype\n", b"cos\nsystem\n", b"c_codecs\nencode\n"]
GLOBALS += [b"cnumpy.core.multiarray\n_reconstruct\n", b"cnumpy.core.multiarray\nscalar\n"]
SOUP = st.lists(st.sampled_from(OPCODES + GLOBALS * 9) | st.binary(max_size=3), max_size=30)


@searched
@given(
    st.sampled_from(PICKLES).flatmap(lambda whole: damaged(whole, OPCODES[40:123] + GLOBALS))
    | SOUP.map(b"".join)
)
def test_pickles(folder, content):
    raw = folder / "pickles"
    raw.mkdir(exist_ok=True)
    for number, name in enumerate(miniimagenet.PICKLES.values()):
        (raw / name).write_bytes(PICKLES[3 + number] if number else content)
    answered(lambda: miniimagenet.prepare(DATASET, raw, folder / "images.npy"))


@searched
@given(st.data())
def test_prepared_data(folder, data):
    images = np.zeros((3, 2, 8, 8, 3), np.uint8)
    about = {
        "name": "miniimagenet",
        "source": "synthetic",
        "digest": "0",
        "classes": [{"name": s, "split": s} for s in store.SPLITS],
    }
    content = io.BytesIO()
    np.save(content, images)
    array = data.draw(st.just(content.getvalue()) | damaged(content.getvalue()[:128]))
    (folder / "images.npy").write_bytes(array)
    (folder / "dataset.json").write_text(json.dumps(data.draw(changed(about))))
    answered(lambda: store.load(folder))


@searched
@given(st.data())
def test_records_of_a_download(folder, data):
    raw = folder / "raw"
    raw.mkdir(exist_ok=True)
    about = {"source": "synthetic", "files": {"a.zip": {"size": 1, "sha256": "0" * 64}}}
    text = data.draw(changed(about).map(json.dumps) | st.text())
    (raw / "source.json").write_text(text, encoding="utf-8", errors="surrogatepass")
    answered(lambda: prepare("miniimagenet", DATASET, raw, folder / "out"))


@searched
@given(st.data())
def test_bundled_omniglot(folder, data):
    about = {"drawings": 2, "classes": [{"name": "a/b/c", "file": "0001"}]}
    (folder / "omniglot.json").write_text(json.dumps(data.draw(changed(about))))
    (folder / "omniglot.xz").write_bytes(data.draw(damaged(PACKED)))
    answered(lambda: omniglot.read_bundle(folder))


@searched
@given(st.text() | damaged(b"0" * 64 + b"  omniglot/a.zip\n").map(lambda b: b.decode("latin-1")))
def test_lists_of_checksums(text):
    answered(lambda: read_sums(text, "SHA256SUMS"))
