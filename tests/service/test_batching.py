"""Which pictures make a batch, and when it leaves."""

from __future__ import annotations

import threading
import time

import pytest

from service.batching import BatchQueue, Job, batch_sizes


def job(number: int, beam: int = 1, alone: bool = False, expires_in: float = 60.0) -> Job:
    now = time.monotonic()
    return Job(b"client", number, "r", beam, now + expires_in, alone, memoryview(b""), now)


def ids(jobs: list[Job]) -> list[int]:
    return [job.id for job in jobs]


@pytest.mark.parametrize(
    ("largest", "sizes"), [(1, [1]), (2, [1, 2]), (16, [1, 2, 4, 8, 16]), (20, [1, 2, 4, 8, 16, 20])]
)
def test_batch_sizes_double_up_to_the_largest(largest: int, sizes: list[int]) -> None:
    assert batch_sizes(largest) == sizes


def queue(decoding: int = 0, expired: list[Job] | None = None) -> BatchQueue:
    return BatchQueue(4, lambda: decoding, (expired if expired is not None else []).append)


def test_a_batch_leaves_at_once_when_nothing_is_being_decoded() -> None:
    waiting = queue()
    for number in range(3):
        waiting.put(job(number))
    jobs, reason = waiting.next_batch()
    assert (ids(jobs), reason) == ([0, 1, 2], "idle")


def test_no_batch_is_larger_than_the_largest() -> None:
    waiting = queue()
    for number in range(6):
        waiting.put(job(number))
    jobs, reason = waiting.next_batch()
    assert (ids(jobs), reason) == ([0, 1, 2, 3], "full")
    assert ids(waiting.next_batch()[0]) == [4, 5]


def test_a_partial_batch_is_held_a_moment_for_pictures_being_decoded() -> None:
    waiting = queue(decoding=1)
    waiting.put(job(0))
    jobs, reason = waiting.next_batch()
    assert (ids(jobs), reason) == ([0], "waited")


def test_a_held_batch_takes_along_what_arrives() -> None:
    asked = 0

    def decoding() -> int:
        nonlocal asked
        asked += 1
        if asked == 2:  # while the batch is held, the second picture's decoding ends
            waiting.put(job(1))
        return 1

    waiting = BatchQueue(2, decoding, [].append)
    waiting.put(job(0))
    jobs, reason = waiting.next_batch()
    assert (ids(jobs), reason) == ([0, 1], "full")


def test_for_a_device_that_runs_parts_a_batch_has_a_power_of_two_of_pictures() -> None:
    waiting = BatchQueue(12, lambda: 0, [].append, in_parts=True)
    for number in range(30):
        waiting.put(job(number))
    batches = [ids(waiting.next_batch()[0]) for _ in range(4)]
    assert [len(batch) for batch in batches] == [12, 12, 4, 2]
    assert [number for batch in batches for number in batch] == list(range(30))


def test_one_thread_can_put_and_take() -> None:
    arriving = [[], [job(0)], [job(1), job(2)]]
    waits: list[float | None] = []

    def take_in(seconds: float | None) -> None:
        waits.append(seconds)
        for new in arriving.pop(0) if arriving else []:
            waiting.put(new)

    waiting = BatchQueue(2, lambda: 0, [].append, take_in)
    assert ids(waiting.next_batch()[0]) == [0]
    assert waits == [0.0, None]  # what is there already, and then whatever comes
    assert ids(waiting.full_batch()) == [1, 2]
    assert waits == [0.0, None, 0.0]
    assert waiting.full_batch() == []


def test_an_expired_job_is_dropped_and_told() -> None:
    expired: list[Job] = []
    waiting = queue(expired=expired)
    waiting.put(job(0, expires_in=-1))
    waiting.put(job(1))
    assert ids(waiting.next_batch()[0]) == [1]
    assert ids(expired) == [0]


def test_a_cancelled_job_is_dropped_silently() -> None:
    waiting = queue()
    waiting.put(job(0))
    waiting.put(job(1))
    waiting.cancel(b"client", 0)
    waiting.cancel(b"another client", 1)
    assert ids(waiting.next_batch()[0]) == [1]


def test_a_job_sent_again_runs_alone() -> None:
    waiting = queue()
    waiting.put(job(0))
    waiting.put(job(1, alone=True))
    waiting.put(job(2))
    assert ids(waiting.next_batch()[0]) == [0]
    jobs, reason = waiting.next_batch()
    assert (ids(jobs), reason) == ([1], "alone")
    assert ids(waiting.next_batch()[0]) == [2]


def test_an_empty_queue_waits_for_the_first_job() -> None:
    waiting = queue()
    threading.Timer(0.05, lambda: waiting.put(job(7))).start()
    assert ids(waiting.next_batch()[0]) == [7]


class Over(Exception):
    """Ends what serves for ever."""


@pytest.mark.parametrize("overlaps", [False, True])
def test_only_a_full_batch_is_begun_while_another_is_under_way(overlaps: bool) -> None:
    waiting = queue()
    for number in range(10):
        waiting.put(job(number))
    said: list[str] = []

    def begin(jobs: list[Job], reason: str) -> list[int]:
        said.append(f"begin {ids(jobs)} {reason}")
        return ids(jobs)

    def finish(begun: list[int]) -> None:
        said.append(f"finish {begun}")
        if 9 in begun:
            raise Over

    with pytest.raises(Over):
        waiting.serve(begin, finish, overlaps)
    first, second, last = "[0, 1, 2, 3]", "[4, 5, 6, 7]", "[8, 9]"
    if overlaps:
        middle = [f"begin {second} full", f"finish {first}", f"finish {second}"]
    else:
        middle = [f"finish {first}", f"begin {second} full", f"finish {second}"]
    assert said == [f"begin {first} full", *middle, f"begin {last} idle", f"finish {last}"]


def test_what_must_run_alone_is_in_no_full_batch() -> None:
    waiting = queue()
    for number in range(5):
        waiting.put(job(number, alone=number == 2))
    assert waiting.full_batch() == []
    assert ids(waiting.next_batch()[0]) == [0, 1]
