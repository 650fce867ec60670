"""A web server on this machine that behaves as a test says, well or badly."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Server:
    """What the server has, how it behaves, and what it was asked.

    Attributes:
        url: its base URL.
        files: path → content.
        faults: path → what to do at the next requests for it, in turn: an HTTP status, a URL to
            redirect to, ``("cut", n)`` to break off after n bytes, ``("short", n)`` to end after n
            bytes without saying how many there are; None serves it.
        ranges: whether it can begin in the middle of a file.
        page_type: content type of files that begin as web pages do.
        asked: (path, Range header) of each request.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.files: dict[str, bytes] = {}
        self.faults: dict[str, list[int | str | tuple[str, int] | None]] = {}
        self.ranges = True
        self.page_type = "text/html; charset=utf-8"
        self.asked: list[tuple[str, str | None]] = []


class _Handler(BaseHTTPRequestHandler):
    server: "_HTTPServer"

    def do_GET(self) -> None:
        state = self.server.state
        wanted = self.headers.get("Range")
        state.asked.append((self.path, wanted))
        waiting = state.faults.get(self.path)
        fault = waiting.pop(0) if waiting else None
        if isinstance(fault, str):
            self.send_response(302)
            self.send_header("Location", fault)
            self.end_headers()
        elif isinstance(fault, int) or self.path not in state.files:
            self.send_error(fault if isinstance(fault, int) else 404)
        else:
            self._serve(state, state.files[self.path], wanted, fault)

    def _serve(
        self, state: Server, content: bytes, wanted: str | None, fault: tuple[str, int] | None
    ) -> None:
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and state.ranges else 0
        if start and start >= len(content):
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        kind, end = fault or ("whole", len(content))
        page = content.lstrip().startswith(b"<")
        self.send_header("Content-Type", state.page_type if page else "application/octet-stream")
        if kind != "short":
            self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        self.wfile.write(content[start:end])

    def log_message(self, *_: object) -> None:
        pass


class _HTTPServer(ThreadingHTTPServer):
    state: Server


@contextmanager
def serving() -> Iterator[Server]:
    """Run a server on a free port of this machine."""
    with _HTTPServer(("127.0.0.1", 0), _Handler) as server:
        server.state = Server(f"http://127.0.0.1:{server.server_address[1]}")
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server.state
        finally:
            server.shutdown()
            thread.join()
