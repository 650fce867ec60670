import hashlib
import random
import socket
from types import SimpleNamespace

import pytest

from maml.data import fetch as module
from maml.data.fetch import Absent, Remote, Unreachable, fetch, read_text
from maml.files.errors import UserError

CONTENT = random.Random(0).randbytes(300_000)
DIGEST = f"sha256:{hashlib.sha256(CONTENT).hexdigest()}"
PAGE = b"<!DOCTYPE html><html>Sign in to the hotel's network</html>"


@pytest.fixture
def remote(server, monkeypatch):
    """A file on the server, of known size and checksum."""
    monkeypatch.setattr(module, "PIECE", 10_000)
    server.files["/a/data.zip"] = CONTENT
    return Remote(f"{server.url}/a/data.zip", len(CONTENT), DIGEST)


def files(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def asked(server):
    return [wanted for _, wanted in server.asked]


def test_places_the_file(remote, tmp_path, capsys):
    fetch(remote, tmp_path)
    assert files(tmp_path) == {"data.zip": CONTENT}
    assert capsys.readouterr() == ("", "")


def test_says_now_and_then_how_much_has_arrived(remote, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(module, "LINE_SECONDS", -1)
    fetch(remote, tmp_path)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 30
    assert lines[-1] == "data.zip: 300.0 kB of 300.0 kB"
    assert lines[14] == "data.zip: 150.0 kB of 300.0 kB"


def test_a_verified_file_is_not_fetched_again_and_a_damaged_one_is(server, remote, tmp_path):
    fetch(remote, tmp_path)
    fetch(remote, tmp_path)
    assert len(server.asked) == 1
    (tmp_path / "data.zip").write_bytes(CONTENT[:-1] + b"x")
    fetch(remote, tmp_path)
    assert len(server.asked) == 2
    assert files(tmp_path) == {"data.zip": CONTENT}


def test_goes_on_from_where_the_connection_broke_off(server, remote, tmp_path):
    server.faults["/a/data.zip"] = [("cut", 100_000), ("cut", 200_000)]
    fetch(remote, tmp_path)
    assert asked(server) == [None, "bytes=100000-", "bytes=200000-"]
    assert files(tmp_path) == {"data.zip": CONTENT}


def test_any_number_of_breaks_is_survived_while_there_is_progress(server, remote, tmp_path):
    server.faults["/a/data.zip"] = [("cut", end) for end in range(10_000, 300_000, 10_000)]
    fetch(remote, tmp_path)
    assert len(server.asked) == 30
    assert files(tmp_path) == {"data.zip": CONTENT}


def test_goes_on_from_what_an_earlier_process_left(server, remote, tmp_path):
    (tmp_path / "data.zip.part").write_bytes(CONTENT[:123_456])
    fetch(remote, tmp_path)
    assert asked(server) == ["bytes=123456-"]
    assert files(tmp_path) == {"data.zip": CONTENT}


def test_begins_again_where_the_server_cannot_go_on(server, remote, tmp_path):
    server.ranges = False
    server.faults["/a/data.zip"] = [("cut", 100_000)]
    fetch(remote, tmp_path)
    assert asked(server) == [None, "bytes=100000-"]
    assert files(tmp_path) == {"data.zip": CONTENT}


@pytest.mark.parametrize("left", [1000, 300_000, 400_000])
def test_what_was_left_and_is_wrong_is_fetched_again(server, remote, tmp_path, left):
    (tmp_path / "data.zip.part").write_bytes(b"x" * left)
    fetch(remote, tmp_path)
    # one that is whole is compared and not asked for
    assert asked(server) == [f"bytes={left}-", None] if left != 300_000 else [None]
    assert files(tmp_path) == {"data.zip": CONTENT}


def test_a_part_that_is_whole_is_taken(server, remote, tmp_path):
    (tmp_path / "data.zip.part").write_bytes(CONTENT)
    fetch(remote, tmp_path)
    assert files(tmp_path) == {"data.zip": CONTENT}
    assert asked(server) == []


def test_without_a_checksum_nothing_is_resumed(server, remote, tmp_path):
    (tmp_path / "data.zip.part").write_bytes(b"of something else")
    server.faults["/a/data.zip"] = [("cut", 100_000)]
    fetch(Remote(remote.url), tmp_path)
    assert asked(server) == [None, None]
    assert files(tmp_path) == {"data.zip": CONTENT}


@pytest.mark.parametrize("status", [500, 503, 429])
def test_tries_again_when_the_server_is_busy(server, remote, tmp_path, capsys, status):
    server.faults["/a/data.zip"] = [status, status]
    fetch(remote, tmp_path)
    assert files(tmp_path) == {"data.zip": CONTENT}
    assert f"HTTP {status}" in capsys.readouterr().err


def test_gives_up_after_four_tries_in_a_row(server, remote, tmp_path):
    server.faults["/a/data.zip"] = [502] * 9
    with pytest.raises(Unreachable, match=r"/a/data\.zip cannot be fetched \(HTTP 502"):
        fetch(remote, tmp_path)
    assert len(server.asked) == 4
    assert files(tmp_path) == {}


def test_keeps_what_has_arrived_when_it_gives_up(server, remote, tmp_path):
    server.faults["/a/data.zip"] = [("cut", 100_000)] + [502] * 4
    with pytest.raises(Unreachable, match="HTTP 502"):
        fetch(remote, tmp_path)
    assert files(tmp_path) == {"data.zip.part": CONTENT[:100_000]}


@pytest.mark.parametrize(
    ("status", "error"), [(404, Absent), (410, Absent), (403, Absent), (401, Unreachable)]
)
def test_a_refusal_is_not_asked_again(server, remote, tmp_path, status, error):
    server.faults["/a/data.zip"] = [status]
    with pytest.raises(error, match=rf"/a/data\.zip .*HTTP {status}"):
        fetch(remote, tmp_path)
    assert len(server.asked) == 1
    assert files(tmp_path) == {}


def test_a_redirect_is_followed(server, remote, tmp_path):
    server.files["/elsewhere"] = CONTENT
    server.faults["/a/data.zip"] = [f"{server.url}/elsewhere"]
    fetch(remote, tmp_path)
    assert files(tmp_path) == {"data.zip": CONTENT}


def test_a_redirect_to_a_web_page_is_named(server, remote, tmp_path):
    server.files["/login"] = PAGE
    server.faults["/a/data.zip"] = [f"{server.url}/login"]
    with pytest.raises(
        Unreachable, match=r"/a/data\.zip answers with a web page instead of the file, .*/login"
    ):
        fetch(remote, tmp_path)
    assert files(tmp_path) == {}


def test_a_web_page_that_calls_itself_data_is_named(server, remote, tmp_path):
    server.files["/a/data.zip"] = b"\n" + PAGE
    server.page_type = "application/zip"
    with pytest.raises(Unreachable, match="answers with a web page"):
        fetch(Remote(remote.url), tmp_path)
    assert files(tmp_path) == {}


def test_redirects_without_end_are_an_error(server, remote, tmp_path):
    server.faults["/a/data.zip"] = [remote.url] * 99
    with pytest.raises(Unreachable, match="redirects"):
        fetch(remote, tmp_path)


def test_a_wrong_checksum_is_an_error_and_the_file_is_not_kept(server, remote, tmp_path):
    server.files["/a/data.zip"] = CONTENT[:-1] + b"x"
    with pytest.raises(
        UserError, match=r"data\.zip is not the file.*sha256 is not .* MAML_MIRROR"
    ) as e:
        fetch(remote, tmp_path)
    assert not isinstance(e.value, Unreachable)
    assert len(server.asked) == 1
    assert files(tmp_path) == {}


def test_md5_is_checked_too(server, remote, tmp_path):
    good = Remote(remote.url, None, f"md5:{hashlib.md5(CONTENT).hexdigest()}")
    fetch(good, tmp_path)
    with pytest.raises(UserError, match="its md5 is not 0000"):
        fetch(Remote(remote.url, None, f"md5:{'0' * 32}"), tmp_path)


def test_a_wrong_size_is_an_error_before_anything_is_fetched(server, remote, tmp_path):
    server.files["/a/data.zip"] = CONTENT[:-10]
    with pytest.raises(UserError, match="has 299,990 bytes instead of 300,000"):
        fetch(remote, tmp_path)
    assert files(tmp_path) == {}


def test_a_file_that_ends_early_without_saying_so_is_resumed(server, remote, tmp_path):
    server.faults["/a/data.zip"] = [("short", 100_000)]
    fetch(remote, tmp_path)
    assert asked(server) == [None, "bytes=100000-"]
    assert files(tmp_path) == {"data.zip": CONTENT}


def test_a_stream_without_end_is_an_error(server, remote, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "MAX_FILE", 200_000)
    server.faults["/a/data.zip"] = [("short", 300_000)]
    with pytest.raises(UserError, match="longer than"):
        fetch(Remote(remote.url), tmp_path)


def test_no_network(tmp_path, server):
    with socket.socket() as taken:  # bound and not listening: nobody answers
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/data.zip"
        with pytest.raises(
            Unreachable, match=r"^http://127\S+/data.zip cannot be fetched \(Connection refused\)$"
        ):
            fetch(Remote(url, 10, DIGEST), tmp_path)
    assert files(tmp_path) == {}


def test_no_room(server, remote, tmp_path, monkeypatch):
    (tmp_path / "data.zip.part").write_bytes(CONTENT[:100_000])
    monkeypatch.setattr(module.shutil, "disk_usage", lambda path: SimpleNamespace(free=150_000))
    with pytest.raises(UserError, match=r"200\.0 kB are needed, 150\.0 kB are free"):
        fetch(remote, tmp_path)
    assert files(tmp_path) == {"data.zip.part": CONTENT[:100_000]}
    monkeypatch.setattr(module.shutil, "disk_usage", lambda path: SimpleNamespace(free=250_000))
    fetch(remote, tmp_path)  # the rest fits


def test_passwords_are_not_shown(server, tmp_path):
    url = server.url.replace("//", "//user:secret@") + "/missing.zip"
    with pytest.raises(Absent, match=r"missing\.zip") as error:
        fetch(Remote(url), tmp_path)
    assert "secret" not in str(error.value)


def test_reads_a_list(server):
    server.files["/SHA256SUMS"] = b"abc\n"
    assert read_text(f"{server.url}/SHA256SUMS") == "abc\n"
    server.files["/SHA256SUMS"] = b"\xff\xfe"
    with pytest.raises(UserError, match="SHA256SUMS is no list"):
        read_text(f"{server.url}/SHA256SUMS")
