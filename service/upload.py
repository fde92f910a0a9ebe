"""Reading pictures out of a request body: multipart/form-data or the raw picture, in memory, within limits.

Nothing is written to disk. A picture is handed on as soon as its part is complete, so that decoding begins
while the next one arrives.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from io import BytesIO

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import Request

from service.errors import (
    MalformedRequest,
    UnsupportedBody,
    UnusableRequest,
    UploadTooLarge,
    UploadTooSlow,
)

FRAMING_BYTES = 16_384  # boundaries and part headers that may come with each picture
BURST = 2**20  # bytes of an upload that are taken as fast as they come
REST_BYTES_S = 40 * 2**20  # and what is beyond, so that large uploads leave time to small ones
MAX_PARTS = 64  # of a form; more is no mistake of somebody's but a flood


def any_type(kind: str, filename: str) -> None:
    """The bytes decide what a picture is, not what it is declared as."""


async def read_pictures(
    request: Request,
    field: str,
    most: int,
    max_bytes: int,
    deadline: float,
    take: Callable[[int], None],
    check_type: Callable[[str, str], None] = any_type,
) -> AsyncIterator[bytes]:
    """Yield the pictures of a request in order: the multipart parts named ``field``, or the whole raw body.

    :param most: how many pictures the route takes
    :param max_bytes: size of one picture at most
    :param deadline: in seconds of :func:`time.monotonic`
    :param take: accounts for that many bytes more in memory, or raises
    :param check_type: told of each part's declared type and file name ("" if there is none); may raise
    :raises UnsupportedBody: 415, neither multipart/form-data nor image/*, or compressed
    :raises UploadTooLarge: 413, raised as soon as it is certain
    :raises UploadTooSlow: 408, not all there by the deadline
    :raises MalformedRequest: 400, not multipart as its standard has it
    :raises UnusableRequest: 422, a field is missing, unknown, repeated or not a file
    """
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise UnsupportedBody("compressed request bodies are not taken; send the picture as it is")
    kind, parameters = parse_options_header(request.headers.get("content-type", ""))
    if kind == b"multipart/form-data":
        boundary = parameters.get(b"boundary", b"")
        reader: FormReader | RawReader = FormReader(boundary, field, most, max_bytes, check_type)
        limit = most * (max_bytes + FRAMING_BYTES)
    elif kind.startswith(b"image/"):
        reader, limit = RawReader(max_bytes), max_bytes
    else:
        raise UnsupportedBody(
            f"send multipart/form-data with a file field {field!r}, or a body of type image/*"
        )
    _check_declared_length(request, limit)
    received = 0
    more = True
    while more:
        try:
            async with asyncio.timeout(deadline - time.monotonic()):
                message = await request.receive()
        except TimeoutError:
            raise UploadTooSlow("the upload did not arrive in time", {"Connection": "close"}) from None
        if message["type"] == "http.disconnect":
            raise MalformedRequest("the upload was cut off")
        chunk, more = message.get("body", b""), message.get("more_body", False)
        received += len(chunk)
        if received > limit:
            raise UploadTooLarge(f"at most {limit:,} bytes are taken", {"Connection": "close"})
        take(len(chunk))
        reader.feed(chunk)
        while reader.pictures:
            yield reader.pictures.popleft()
        if received > BURST:
            await asyncio.sleep(len(chunk) / REST_BYTES_S)
    reader.finish()
    while reader.pictures:
        yield reader.pictures.popleft()


def _check_declared_length(request: Request, limit: int) -> None:
    declared = request.headers.get("content-length", "")
    if declared.isdigit() and int(declared) > limit:
        raise UploadTooLarge(f"at most {limit:,} bytes are taken", {"Connection": "close"})


class RawReader:
    """A body that is the picture itself."""

    def __init__(self, max_bytes: int) -> None:
        self.pictures: deque[bytes] = deque()
        self._max_bytes = max_bytes
        self._data = BytesIO()

    def feed(self, chunk: bytes) -> None:
        _append(self._data, chunk, self._max_bytes)

    def finish(self) -> None:
        self.pictures.append(self._data.getvalue())


class FormReader:
    """A multipart/form-data body (RFC 7578) of nothing but files in one field."""

    def __init__(
        self,
        boundary: bytes,
        field: str,
        most: int,
        max_bytes: int,
        check_type: Callable[[str, str], None],
    ) -> None:
        self.pictures: deque[bytes] = deque()
        self._field = field
        self._most = most
        self._max_bytes = max_bytes
        self._check_type = check_type
        self._count = 0
        self._parts = 0
        self._unusable: UnusableRequest | None = None
        self._ended = False
        self._name = b""
        self._value = b""
        self._disposition = b""
        self._type = b""
        self._data = BytesIO()
        if not 1 <= len(boundary) <= 70:  # RFC 2046, 5.1.1
            raise MalformedRequest("the multipart boundary is missing or not 1 to 70 characters long")
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._begin_part,
                "on_header_field": self._add_to_header_name,
                "on_header_value": self._add_to_header_value,
                "on_header_end": self._end_header,
                "on_headers_finished": self._end_headers,
                "on_part_data": self._add_data,
                "on_part_end": self._end_part,
                "on_end": self._end,
            },
        )

    def feed(self, chunk: bytes) -> None:
        try:
            self._parser.write(chunk)
        except FormParserError:
            raise MalformedRequest("the body is not multipart/form-data as declared") from None

    def finish(self) -> None:
        if not self._ended:
            raise MalformedRequest("the multipart body is not terminated")
        if self._unusable:
            raise self._unusable
        if not self._count:
            raise UnusableRequest(f"the file field {self._field!r} is missing")

    def _begin_part(self) -> None:
        self._parts += 1
        if self._parts > MAX_PARTS:
            raise MalformedRequest(f"a form may have at most {MAX_PARTS} parts", {"Connection": "close"})
        self._disposition = self._type = b""
        self._data = BytesIO()

    def _add_to_header_name(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def _add_to_header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _end_header(self) -> None:
        if self._name.lower() == b"content-disposition":
            self._disposition = self._value
        elif self._name.lower() == b"content-type":
            self._type = self._value
        self._name = self._value = b""

    def _end_headers(self) -> None:
        kind, options = parse_options_header(self._disposition)
        if kind != b"form-data" or b"name" not in options:
            raise MalformedRequest("a part of the multipart body has no form-data name")
        # What is well formed but of no use is answered at the end: what follows may be malformed.
        self._unusable = self._unusable or self._fault(options)
        if self._unusable:
            return
        self._count += 1
        kind, _ = parse_options_header(self._type)
        self._check_type(kind.decode("latin-1"), options[b"filename"].decode("latin-1"))

    def _fault(self, options: dict[bytes, bytes]) -> UnusableRequest | None:
        """What is wrong with a part that bears these names."""
        if options[b"name"] != self._field.encode():
            return UnusableRequest(
                f"unknown field in the form; the only one is the file field {self._field!r}"
            )
        if b"filename" not in options:
            return UnusableRequest(f"the field {self._field!r} was sent as text; send it as a file")
        if self._count == self._most:
            return UnusableRequest(f"the field {self._field!r} is taken at most {self._most} times a request")
        return None

    def _add_data(self, data: bytes, start: int, end: int) -> None:
        if self._unusable:
            return
        _append(self._data, memoryview(data)[start:end], self._max_bytes)

    def _end_part(self) -> None:
        if self._unusable:
            return
        self.pictures.append(self._data.getvalue())
        self._data = BytesIO()

    def _end(self) -> None:
        self._ended = True


def _append(data: BytesIO, chunk: bytes | memoryview, most: int) -> None:
    """Unlike a ``bytearray``, a ``BytesIO`` gives its bytes away at the end without copying them."""
    if data.tell() + len(chunk) > most:
        raise UploadTooLarge(f"a picture may have at most {most:,} bytes", {"Connection": "close"})
    data.write(chunk)
