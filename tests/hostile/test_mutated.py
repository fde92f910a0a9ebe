"""Pictures and forms to which something happened: some; with ``HOSTILE_EFFORT=100``, thousands."""

from __future__ import annotations

import socket
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import httpx
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.hostile import oracle
from tests.hostile.answers import NAME, allowed, assert_allowed, effort
from tests.hostile.forms import Request, requests
from tests.hostile.mutations import applied, mutated, resized
from tests.pictures import picture
from tests.service.processes import Service
from tests.service.wire import assert_problem, connect, everything, status_of

AT_ONCE = 8
GOOD = picture(1)
GIF = picture(2, kind="GIF")
ENOUGH, TOO_MUCH = (6324, 6324), (6325, 6325)  # pixels: just below and just above the limit


@pytest.mark.row(33, 34, 36)
@pytest.mark.timeout(7200)
def test_mutated_pictures_are_answered_as_pillow_decides(
    http: httpx.Client, measured: Callable[[str], None]
) -> None:
    counts: Counter[int] = Counter()

    def send(data: bytes) -> httpx.Response:
        return http.post("/caption", files={"image": (NAME, data)})

    @effort(12)
    @example([applied(GIF, [resized(*ENOUGH, True)]), applied(GIF, [resized(*TOO_MUCH, True)])])
    @given(st.lists(mutated(), min_size=AT_ONCE // 2, max_size=AT_ONCE))
    def hold(pictures: list[bytes]) -> None:
        # several at once: they share the decoding threads and the network's batches with one that is good
        *answers, good = threads.map(send, [*pictures, GOOD])
        for data, answer in zip(pictures, answers, strict=True):
            assert_allowed(answer)
            assert answer.status_code in oracle.statuses(data)
            counts[answer.status_code] += 1
        assert good.status_code == 200

    with ThreadPoolExecutor(AT_ONCE + 1) as threads:
        hold()
    words = ", ".join(f"{count} × {status}" for status, count in sorted(counts.items()))
    print(words)
    measured(f"{sum(counts.values())} mutated pictures: {words}; none answered otherwise than Pillow decides")


@pytest.mark.row(12, 13, 14, 28)
@pytest.mark.timeout(7200)
def test_no_form_gets_an_answer_that_is_not_declared(
    service: Service, measured: Callable[[str], None]
) -> None:
    counts: Counter[int] = Counter()

    @effort(120)
    @given(requests())
    def hold(request: Request) -> None:
        with connect(service.url) as client:
            with suppress(ConnectionError):  # it may have been refused before the end
                client.sendall(request.data)
                if not request.whole:
                    client.shutdown(socket.SHUT_WR)
            answer = everything(client)
        status = status_of(answer)
        if status or request.whole:  # who hangs up in the middle need not be answered
            assert status in allowed()
            assert status < 500  # nothing is wrong with the service
            assert NAME.encode() not in answer
        if status not in (0, 200):
            assert_problem(answer, *allowed())
        counts[status] += 1

    hold()
    assert service.caption(GOOD).status_code == 200
    words = ", ".join(f"{count} × {status}" for status, count in sorted(counts.items()))
    print(words)
    measured(f"{sum(counts.values())} mutated forms: {words or 'none'}")
