"""A web server on 127.0.0.1 that misbehaves as it is told."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Web:
    """Serves ``files`` by path.

    ``cut_after`` holds, for each request to come, the bytes after which the connection is closed;
    ``statuses`` the errors that are answered before anything else. ``requests`` keeps the headers that came.
    """

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files = files
        self.url = ""
        self.validators = {"ETag": '"one"'}
        self.knows_ranges = True
        self.shift = 0  # bytes by which ranges are wrong
        self.cut_after: list[int] = []
        self.statuses: list[int] = []
        self.requests: list[Message] = []

    @property
    def ranges(self) -> list[str | None]:
        return [headers["Range"] for headers in self.requests]


@contextmanager
def serving(files: dict[str, bytes]) -> Iterator[Web]:
    web = Web(files)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            web.requests.append(self.headers)
            content = web.files.get(self.path.lstrip("/"))
            status = web.statuses.pop(0) if web.statuses else 200 if content is not None else 404
            if status != 200 or content is None:
                self.send_error(status)
                return
            first = 0
            asked = self.headers["Range"] if web.knows_ranges else None
            if asked and self.headers["If-Range"] in web.validators.values():
                first = int(asked.removeprefix("bytes=").rstrip("-")) + web.shift
                self.send_response(206)
                self.send_header("Content-Range", f"bytes {first}-{len(content) - 1}/{len(content)}")
            else:
                self.send_response(200)
            for name, value in web.validators.items():
                self.send_header(name, value)
            body = content[first:]
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body[: web.cut_after.pop(0)] if web.cut_after else body)

        def log_message(self, *arguments: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        web.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield web
        finally:
            server.shutdown()
            thread.join()
