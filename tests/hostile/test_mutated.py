"""Pictures and forms to which something happened: some; with ``HOSTILE_EFFORT=100``, thousands."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.hostile import oracle
from tests.hostile.answers import NAME, assert_allowed, effort
from tests.hostile.mutations import mutated
from tests.pictures import picture

AT_ONCE = 8
GOOD = picture(1)


@pytest.mark.row(33, 34, 36)
@pytest.mark.timeout(7200)
def test_mutated_pictures_are_answered_as_pillow_decides(
    http: httpx.Client, measured: Callable[[str], None]
) -> None:
    counts: Counter[int] = Counter()

    def send(data: bytes) -> httpx.Response:
        return http.post("/caption", files={"image": (NAME, data)})

    @effort(12)
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
