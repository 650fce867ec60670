"""Copying from a mirror (`MAML_MIRROR=<folder or URL> maml download`)."""

import hashlib
import shutil
from pathlib import Path

from bad_input.case import PUBLISHER, Meet, Place, collector
from maml.data.miniimagenet import IMAGE_NAMES
from maml.data.official import FILES

CASES, case = collector()

PICKLES = ", ".join(remote.name for remote in FILES["miniimagenet"])


def write(name: str, content: bytes = b"content", listed: bytes | None = None) -> None:
    """Write a file of the mirror, and its line in the list."""
    path = Path("mirror") / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    if listed is not None:
        with Path("mirror/SHA256SUMS").open("a") as sums:
            sums.write(f"{hashlib.sha256(listed).hexdigest()}  {name}\n")


@case(
    "no such folder",
    "the mirror mirror is no folder, nor a URL that begins with http:// or https://; see "
    "MAML_MIRROR and `mirror` in config.yaml",
)
def no_such_folder(place: Place) -> Meet:
    return place.download("omniglot", "mirror")


@case(
    "a URL of another kind",
    "the mirror ftp://mirror.example is no folder, nor a URL that begins with http:// or https://; "
    "see MAML_MIRROR and `mirror` in config.yaml",
)
def other_protocol(place: Place) -> Meet:
    return place.download("omniglot", "ftp://mirror.example")


@case(
    "a URL of another kind with a password",
    "the mirror ftp://mirror.example is no folder, nor a URL that begins with http:// or https://; "
    "see MAML_MIRROR and `mirror` in config.yaml",
)
def password_of_other_protocol(place: Place) -> Meet:
    return place.download("omniglot", "ftp://user:secret@mirror.example")


@case(
    "a URL that is mistyped, with a password",
    "the mirror http://[mirror.example is no URL; see MAML_MIRROR and `mirror` in config.yaml",
)
def no_url(place: Place) -> Meet:
    return place.download("omniglot", "http://user:secret@[mirror.example/")


@case(
    "a folder with nothing of mini-ImageNet",
    "the mirror mirror lacks miniimagenet: neither at its top nor in miniimagenet/ are there "
    f"{PICKLES}, archives of its images, or folders of them; {IMAGE_NAMES}. Put them there, or "
    "name another mirror in MAML_MIRROR",
)
def nothing(place: Place) -> Meet:
    shutil.copytree(place.published["omniglot"], "mirror")
    return place.download("miniimagenet", "mirror")


@case(
    "one of Omniglot's two archives",
    "the mirror mirror is not complete: put omniglot/images_evaluation.zip there too, or name "
    "another mirror in MAML_MIRROR",
)
def half_of_omniglot(place: Place) -> Meet:
    write("omniglot/images_background.zip")
    return place.download("omniglot", "mirror")


@case(
    "one of mini-ImageNet's three pickles",
    "the mirror mirror is not complete: put mini-imagenet-cache-train.pkl, "
    "mini-imagenet-cache-test.pkl there too, or name another mirror in MAML_MIRROR",
)
def third_of_miniimagenet(place: Place) -> Meet:
    write("mini-imagenet-cache-validation.pkl")
    return place.download("miniimagenet", "mirror")


@case(
    "a file that `SHA256SUMS` lists is missing",
    "mirror/SHA256SUMS lists what is not there: put miniimagenet/test.tar.xz there",
)
def listed_and_missing(place: Place) -> Meet:
    for name in ("train.tar.xz", "test.tar.xz"):
        write(f"miniimagenet/{name}", listed=b"content")
    Path("mirror/miniimagenet/test.tar.xz").unlink()
    return place.download("miniimagenet", "mirror")


@case(
    "a file differs from `SHA256SUMS`",
    "mirror/miniimagenet/all.tar is not the file that is listed or published: its sha256 is not "
    "…; copy it there again, or list it in mirror/SHA256SUMS if it is meant to differ",
)
def differs_from_the_list(place: Place) -> Meet:
    write("miniimagenet/all.tar", b"damaged", listed=b"content")
    return place.download("miniimagenet", "mirror")


@case(
    "pickles that are not the published ones and that no `SHA256SUMS` lists",
    "mirror/mini-imagenet-cache-train.pkl is not the file that is listed or published: it has 7 "
    "bytes instead of 1,145,461,190; copy it there again, or list it in mirror/SHA256SUMS if it is "
    "meant to differ",
)
def other_pickles(place: Place) -> Meet:
    for name in PICKLES.split(", "):
        write(name)
    return place.download("miniimagenet", "mirror")


@case(
    "`SHA256SUMS` is something else",
    "mirror/SHA256SUMS is no list as sha256sum writes it: see its line '<html>', and make it "
    "anew or "
    "remove it",
)
def no_list(place: Place) -> Meet:
    write("SHA256SUMS", b"<html>\n")
    return place.download("omniglot", "mirror")


@case(
    "a folder of images that lacks whole classes",
    "the mirror mirror is not complete: it has no image of 99 classes, among them n01558993, "
    "n01704323, n01749939; put them there too, or name another in MAML_MIRROR; " + IMAGE_NAMES,
)
def classes_missing(place: Place) -> Meet:
    write("miniimagenet/n01532829/n0153282900000005.jpg")
    return place.download("miniimagenet", "mirror")


ENDING = (
    ". See whether the mirror is right (MAML_MIRROR, or `mirror` in config.yaml) and run again; "
    "without a mirror, the files come from their publishers"
)


@case(
    "a server that does not answer",
    f"{PUBLISHER}/SHA256SUMS cannot be fetched (HTTP 503 Service Unavailable){ENDING}",
)
def no_answer(place: Place) -> Meet:
    place.server.faults["/SHA256SUMS"] = [503] * 4
    return place.download("omniglot", place.server.url)


@case(
    "a URL with a password and no server",
    "http:///SHA256SUMS cannot be fetched (Invalid URL 'http:///SHA256SUMS': No host supplied)"
    f"{ENDING}",
)
def password_without_server(place: Place) -> Meet:
    return place.download("miniimagenet", "http://user:secret@")


@case(
    "a server with archives that no `SHA256SUMS` lists",
    f"the mirror {PUBLISHER} lacks miniimagenet: neither at its top nor in miniimagenet/ are there "
    f"{PICKLES}, nor does a SHA256SUMS at its top list archives of its images. Put them there, or "
    "name another mirror in MAML_MIRROR",
)
def server_without_a_list(place: Place) -> Meet:
    place.server.files["/images.zip"] = b"content"
    return place.download("miniimagenet", place.server.url)


@case(
    "a server whose `SHA256SUMS` lists one of two archives",
    f"the mirror {PUBLISHER} is not complete: put images_background.zip there too, or name another "
    "mirror in MAML_MIRROR",
)
def half_a_server(place: Place) -> Meet:
    place.server.files["/SHA256SUMS"] = f"{'0' * 64}  images_evaluation.zip\n".encode()
    return place.download("omniglot", place.server.url)


@case(
    "a folder of images, whose classes have plain names",
    "the mirror mirror lacks miniimagenet: neither at its top nor in miniimagenet/ are there "
    f"{PICKLES}, archives of its images, or folders of them; {IMAGE_NAMES}. Put them there, or "
    "name another mirror in MAML_MIRROR",
)
def plain_names(place: Place) -> Meet:
    write("miniimagenet/house finch/1.jpg")
    return place.download("miniimagenet", "mirror")


@case(
    "a server that lacks what its `SHA256SUMS` lists",
    f"{PUBLISHER}/miniimagenet/all.tar is not to be had (HTTP 404 Not Found){ENDING}",
)
def server_lacks_what_it_lists(place: Place) -> Meet:
    line = f"{'0' * 64}  miniimagenet/all.tar\n"
    place.server.files["/SHA256SUMS"] = line.encode()
    return place.download("miniimagenet", place.server.url)
