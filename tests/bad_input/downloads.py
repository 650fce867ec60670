"""Fetching from the publishers (`maml download`).

Omniglot falls back to the copy that ships with the project where its archives cannot be had, so
these are mini-ImageNet's, but for the checksum, after which nothing falls back.
"""

import errno
import os
import socket
from pathlib import Path
from types import SimpleNamespace

from bad_input.case import PUBLISHER, Meet, Place, collector
from maml.data import download, fetch
from maml.data.fetch import Remote
from maml.files.provenance import file_digest

CASES, case = collector()

TRAIN = "mini-imagenet-cache-train.pkl"
PART = f"data/raw/miniimagenet.incomplete/{TRAIN}.part"
URL = f"{PUBLISHER}/{TRAIN}"
ENDING = (
    f". Run it again when the network is there: what has arrived is kept. Or fetch {URL}, "
    f"{PUBLISHER}/mini-imagenet-cache-validation.pkl, {PUBLISHER}/mini-imagenet-cache-test.pkl on "
    "a machine that has one, put them into a folder, and name it: MAML_MIRROR=<folder>. Omniglot's "
    "experiments need no network: it ships with the project (source: bundled)"
)
PAGE = b"<!DOCTYPE html><html>Quota exceeded</html>"


def publish(place: Place, format: str) -> None:
    """Put the published files on the server, and let their checksums be the published ones."""
    files = []
    for remote in download.FILES[format]:
        path = place.published[format] / remote.name
        place.server.files[f"/{remote.name}"] = path.read_bytes()
        checksum = f"sha256:{file_digest(path)}"
        url = f"{place.server.url}/{remote.name}"
        files.append(Remote(url, path.stat().st_size, checksum))
    place.patch.setitem(download.FILES, format, files)


def fails(place: Place, *faults: object) -> Meet:
    """Publish mini-ImageNet; let the first file fail in these ways, in turn."""
    publish(place, "miniimagenet")
    place.server.faults[f"/{TRAIN}"] = list(faults)
    return place.download("miniimagenet")


@case("no network", f"{URL} cannot be fetched (Connection refused){ENDING}")
def nobody_answers(place: Place) -> Meet:
    publish(place, "miniimagenet")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        closed = f"http://127.0.0.1:{free.getsockname()[1]}"
    files = download.FILES["miniimagenet"]
    place.patch.setitem(
        download.FILES,
        "miniimagenet",
        [Remote(f"{closed}/{file.name}", file.size, file.checksum) for file in files],
    )
    place.server.url = closed
    return place.download("miniimagenet")


@case("the file is gone (404)", f"{URL} is not to be had (HTTP 404 Not Found){ENDING}")
def gone(place: Place) -> Meet:
    return fails(place, 404)


@case("the server refuses (403)", f"{URL} is not to be had (HTTP 403 Forbidden){ENDING}")
def forbidden(place: Place) -> Meet:
    return fails(place, 403)


@case(
    "the server fails, however often it is asked",
    f"{URL} cannot be fetched (HTTP 503 Service Unavailable){ENDING}",
)
def server_fails(place: Place) -> Meet:
    return fails(place, *[503] * 4)


@case(
    "the connection breaks off and does not come back",
    f"{URL} cannot be fetched (HTTP 503 Service Unavailable){ENDING}",
    keeps=(PART,),
)
def breaks_off(place: Place) -> Meet:
    return fails(place, ("cut", 200_000), *[503] * 3)


@case(
    "a redirect to a web page",
    f"{URL} answers with a web page instead of the file, to which it redirects: "
    f"{PUBLISHER}/login{ENDING}",
)
def redirect_to_a_page(place: Place) -> Meet:
    place.server.files["/login"] = PAGE
    return fails(place, f"{place.server.url}/login")


@case(
    "a web page under the file's name, said to be data",
    f"{URL} answers with a web page instead of the file{ENDING}",
)
def page_as_data(place: Place) -> Meet:
    publish(place, "miniimagenet")
    place.server.page_type = "application/octet-stream"
    place.server.files[f"/{TRAIN}"] = PAGE
    return place.download("miniimagenet")


@case(
    "a wrong checksum",
    f"{PUBLISHER}/images_background.zip is not the file that was published: its sha256 is not "
    "…. It was not kept; try again from another network, or name a mirror that has "
    "images_background.zip in MAML_MIRROR",
)
def wrong_checksum(place: Place) -> Meet:
    publish(place, "omniglot")
    name = "/images_background.zip"
    place.server.files[name] = place.server.files[name][:-1] + b"x"
    return place.download("omniglot")


@case(
    "a wrong size",
    f"{URL} is not the file that was published: it has … bytes instead of …. It was not kept; try "
    f"again from another network, or name a mirror that has {TRAIN} in MAML_MIRROR",
)
def wrong_size(place: Place) -> Meet:
    publish(place, "miniimagenet")
    place.server.files[f"/{TRAIN}"] += b"x"
    return place.download("miniimagenet")


@case(
    "too little room on the disk",
    "data/raw has not enough room: … are needed, 1.0 kB are free; make room, or keep the whole "
    "project on a larger disk; where only data/ is a link to one, neither git nor DVC records the "
    "images",
)
def no_room(place: Place) -> Meet:
    place.patch.setattr(fetch.shutil, "disk_usage", lambda path: SimpleNamespace(free=1000))
    return fails(place)


@case(
    "the disk fills up meanwhile",
    "data/raw/miniimagenet cannot be written: no space left on device; make room, then run the "
    "same command again",
    keeps=(PART,),
)
def disk_fills_up(place: Place) -> Meet:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    place.patch.setattr(fetch.os, "fsync", full)
    return fails(place)


@case(
    "a file stands where the folder belongs",
    "data/raw/miniimagenet cannot be written: …; move the file that stands where a "
    "folder belongs, then run the same command again",
)
def file_in_the_way(place: Place) -> Meet:
    Path("data").mkdir()
    Path("data/raw").touch()
    return fails(place)


@case(
    "files placed there by hand, where the download belongs",
    "the files in data/raw/miniimagenet were placed there by hand: move them into another folder "
    "and name it, MAML_MIRROR=<folder>, so that they are checked and recorded",
)
def folder_of_other_files(place: Place) -> Meet:
    place.raw("miniimagenet")
    Path("data/raw/miniimagenet/source.json").unlink()
    return fails(place)
