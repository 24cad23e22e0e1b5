"""A model hub on loopback: what pulling asks of the real one, and nothing else."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

COMMIT = "c0ffee" + "0" * 34


class FakeHub:
    """One repository's files; `cut_after` stalls a file after so many bytes, until `release`d."""

    def __init__(self, repo: str, files: Mapping[str, bytes]) -> None:
        self.repo, self.files, self.commit = repo, dict(files), COMMIT
        self.cut_after: dict[str, int] = {}
        self.stalled, self.released = threading.Event(), threading.Event()
        self.requests: list[str] = []
        """Method and path of each, in order."""
        self.ranges: list[str] = []
        self.endpoint = ""


class _Handler(BaseHTTPRequestHandler):
    hub: FakeHub

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def log_message(self, format: str, *args: object) -> None:
        self.hub.requests.append(f"{self.command} {self.path}")

    def _answer(self, body: bool) -> None:
        hub, path = self.hub, self.path.split("?")[0]
        if path in (f"/api/models/{hub.repo}/revision/{r}" for r in ("main", hub.commit)):
            self._info()
        elif (name := path.removeprefix(f"/{hub.repo}/resolve/{hub.commit}/")) in hub.files:
            self._file(name, body)
        else:
            self.send_response(404)
            self.send_header("X-Error-Code", "RepoNotFound")
            self.send_header("Content-Length", "0")
            self.end_headers()

    def _info(self) -> None:
        siblings = [{"rfilename": name} for name in self.hub.files]
        told = {"id": self.hub.repo, "sha": self.hub.commit, "siblings": siblings}
        data = json.dumps(told).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _file(self, name: str, body: bool) -> None:
        data, start = self.hub.files[name], 0
        asked = self.headers.get("Range", "")
        if body and asked:
            self.hub.ranges.append(asked)
            start = int(asked.removeprefix("bytes=").split("-")[0])
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        self.send_header("ETag", f'"{hashlib.sha256(data).hexdigest()}"')
        self.send_header("X-Repo-Commit", self.hub.commit)
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(len(data) - start))
        self.end_headers()
        if body:
            self._body(name, data[start:])

    def _body(self, name: str, data: bytes) -> None:
        cut = self.hub.cut_after.pop(name, None)
        self.wfile.write(data[:cut])
        if cut is not None:
            self.wfile.flush()
            self.hub.stalled.set()
            self.hub.released.wait(60)


@contextmanager
def serving(repo: str, files: Mapping[str, bytes]) -> Iterator[FakeHub]:
    """The hub, until the block ends."""
    hub = FakeHub(repo, files)
    handler = type("Handler", (_Handler,), {"hub": hub})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        hub.endpoint = f"http://127.0.0.1:{server.server_port}"
        yield hub
        hub.released.set()
        server.shutdown()
