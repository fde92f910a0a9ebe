"""Strategies: requests with a form that was good once; its pieces, its bytes and its length may be wrong."""

from __future__ import annotations

from typing import NamedTuple

from hypothesis import strategies as st

from tests.hostile.answers import NAME
from tests.hostile.mutations import Mutation, applied, mutated, mutations, pictures
from tests.service.wire import post

GOOD_HEADER = f'Content-Disposition: form-data; name="image"; filename="{NAME}"\r\n'.encode()
VALUES = (
    b"form-data",
    b"attachment",
    b'form-data; name="image"',
    b'form-data; name="image"; filename=',
    b'form-data; name="image"; filename="../../etc/passwd\0"',
    f'form-data; name="other"; filename="{NAME}"'.encode(),
    f'form-data; name="{NAME}"; filename="{NAME}"'.encode(),
    b"form-data; name*=UTF-8''image; filename*=UTF-8''%FF%00",
    b"image/png",
    b"\xff\xfe=;\"'",
    b"x" * 9000,
)


class Request(NamedTuple):
    """What goes over the wire; ``whole``: with as many bytes of body as it says."""

    data: bytes
    whole: bool


def requests() -> st.SearchStrategy[Request]:
    """A ``POST /caption`` with a form."""
    ends = st.sampled_from((b"--\r\n", b"--\r\n", b"--", b"", b"\r\n", b"--\r\n--", b"--\r\nepilogue\r\n"))
    preambles = _usually(
        b"", st.sampled_from((b"\r\n", b"preamble\r\n", b"\r\n\r\n")) | st.binary(max_size=20)
    )
    happened = st.just([]) | st.lists(mutations(), max_size=1)
    bodies = st.builds(
        _body,
        _boundaries(),
        preambles,
        st.lists(_parts(), min_size=1, max_size=2) | st.lists(_parts(), max_size=4),
        ends,
        happened,
    )
    types = st.builds(lambda boundary: b"multipart/form-data; boundary=" + boundary, _boundaries())
    return st.builds(_framed, types, bodies, st.integers(-9, 9), st.lists(st.integers(1, 3000), max_size=9))


def _body(
    boundary: bytes, preamble: bytes, parts: list[bytes], end: bytes, happened: list[Mutation]
) -> bytes:
    delimiter = b"--" + boundary
    body = b"".join(delimiter + b"\r\n" + part for part in parts)
    return applied(preamble + body + delimiter + end, happened)


def _framed(kind: bytes, body: bytes, wrong: int, chunks: list[int]) -> Request:
    """Chunked, or with a length that is mostly right; ``wrong`` by more than 3 bytes."""
    kind = b"Connection: close\r\nContent-Type: " + kind.translate(None, b"\r\n\0") + b"\r\n"
    if chunks:
        pieces = []
        rest = body
        for size in chunks:
            pieces, rest = [*pieces, rest[:size]], rest[size:]
        framed = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in [*pieces, rest] if piece)
        return Request(post(kind + b"Transfer-Encoding: chunked\r\n", framed + b"0\r\n\r\n"), True)
    wrong = wrong if abs(wrong) > 6 else 0
    declared = max(0, len(body) + wrong)
    return Request(post(kind + b"Content-Length: %d\r\n" % declared, body), wrong <= 0)


def _usually(good: bytes, odd: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    # seldom enough that often just one thing is wrong, or the first one would hide all others
    return st.integers(0, 9).flatmap(lambda n: odd if n == 7 else st.just(good))


def _boundaries() -> st.SearchStrategy[bytes]:
    odd = (b"", b"-", b"--", b'"b"', b"b b", b"b\tb", b"b" * 70, b"b" * 71, b"b" * 300, b"b; charset=x")
    return _usually(b"boundary", st.sampled_from(odd) | st.binary(max_size=12))


def _parts() -> st.SearchStrategy[bytes]:
    contents = st.sampled_from(pictures()[:4]) | mutated() | st.binary(max_size=64)
    breaks = _usually(b"\r\n", st.sampled_from((b"", b"\n", b"\r", b"\r\n\r\n")) | st.binary(max_size=9))
    return st.tuples(_headers(), breaks, contents, breaks).map(b"".join)


def _headers() -> st.SearchStrategy[bytes]:
    names = st.sampled_from(
        (b"Content-Disposition", b"content-disposition", b"content-type", b"Content-Length", b"X", b"")
    )
    values = st.sampled_from(VALUES) | st.binary(max_size=40)
    odd = st.builds(lambda name, value: name + b": " + value + b"\r\n", names, values)
    several = st.lists(odd | st.just(GOOD_HEADER), max_size=10).map(b"".join)
    return _usually(GOOD_HEADER, several | st.binary(max_size=40))
