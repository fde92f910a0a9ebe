"""One real service for most rows, somebody else who uses it meanwhile, and what must hold for every row."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import httpx
import psutil
import pytest

from tests.pictures import picture
from tests.service.processes import Service, running, until
from tests.service.wire import NEVER_SAID

GROWTH = 64 * 2**20  # bytes that memory may stay above its base
SPARE_THREADS = 4  # that a pool may have started and will use again
PAUSE_S = 0.25
# Nobody is served within 0.1 s while other processes hold all cores: it is benchmarks/soak.py that measures.
LIVE_S = 2.0


class Neighbour(threading.Thread):
    """Somebody who sends a good picture now and then, and asks whether the service is alive."""

    def __init__(self, url: str) -> None:
        super().__init__(daemon=True)
        self.url = url
        self.statuses: list[int] = []
        self.live_s: list[float] = []
        self.leave = threading.Event()

    def run(self) -> None:
        good = picture(1)
        with httpx.Client(base_url=self.url, timeout=100) as http:
            while not self.leave.wait(PAUSE_S):
                try:
                    self.live_s.append(http.get("/health/live").elapsed.total_seconds())
                    self.statuses.append(http.post("/caption", files={"image": good}).status_code)
                except httpx.HTTPError:
                    self.statuses.append(0)


class Held(NamedTuple):
    """What the service's processes hold."""

    memory: int  # bytes of their own
    descriptors: int
    threads: int
    files: int  # in its folder for temporary files

    @classmethod
    def by(cls, service: Service, scratch: Path) -> Held:
        supervisor = psutil.Process(service.process.pid)
        processes = [supervisor, *supervisor.children()]
        memory = descriptors = threads = 0
        for process in processes:
            with suppress(psutil.NoSuchProcess):
                memory += process.memory_full_info().uss
                descriptors += process.num_fds()
                threads += process.num_threads()
        return cls(memory, descriptors, threads, sum(1 for _ in scratch.rglob("*")))

    def no_more_than(self, base: Held) -> bool:
        return (
            self.memory <= base.memory + GROWTH
            and self.descriptors <= base.descriptors
            and self.threads <= base.threads + SPARE_THREADS
            and self.files <= base.files
        )


class Watch(NamedTuple):
    service: Service
    neighbour: Neighbour
    scratch: Path
    base: Held


@pytest.fixture(scope="session")
def watch(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watch]:
    """The service, warm and with a neighbour."""
    scratch = tmp_path_factory.mktemp("scratch")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TMPDIR", str(scratch))
        with running() as service:
            with ThreadPoolExecutor(8) as threads:  # fills pools and caches with the largest there is
                list(threads.map(service.caption, [picture(n, (1600, 1200)) for n in range(24)]))
                list(threads.map(service.caption, [picture(9, (7200, 5500), "PNG", compress_level=1)] * 2))
                url, files = f"{service.url}/caption?beam=10", {"image": picture(9)}
                list(threads.map(lambda _: httpx.post(url, files=files, timeout=100), range(8)))
            neighbour = Neighbour(service.url)
            neighbour.start()
            until(lambda: bool(neighbour.statuses))
            yield Watch(service, neighbour, scratch, Held.by(service, scratch))
            neighbour.leave.set()
            neighbour.join()


@pytest.fixture
def service(watch: Watch) -> Iterator[Service]:
    """The service for a row; afterwards the neighbour was served all along and nothing is left behind."""
    served, lines = len(watch.neighbour.statuses), len(watch.service.lines)
    before = Held.by(watch.service, watch.scratch)
    yield watch.service
    until(lambda: len(watch.neighbour.statuses) > served)
    assert set(watch.neighbour.statuses[served:]) == {200}
    assert max(watch.neighbour.live_s[served:]) < LIVE_S
    limit = before._replace(memory=watch.base.memory)
    with suppress(AssertionError):
        until(lambda: Held.by(watch.service, watch.scratch).no_more_than(limit), 30)
    now = Held.by(watch.service, watch.scratch)
    assert now.no_more_than(limit), f"{now} after {limit}"
    text = httpx.get(f"{watch.service.url}/metrics", timeout=30).text
    assert set(re.findall(r'captioner_requests_total\{code="(5\d\d)"', text)) <= {"503", "504"}
    assert not [line for line in watch.service.lines[lines:] if "Traceback" in line or "unforeseen" in line]


@pytest.fixture
def url(service: Service) -> str:
    return service.url


@pytest.fixture
def http(service: Service) -> Iterator[httpx.Client]:
    """A client whose answers are looked through for what must not be said."""

    def check(response: httpx.Response) -> None:
        body = response.read()
        if response.status_code >= 400:
            assert not [word for word in NEVER_SAID if word in body], body

    with httpx.Client(base_url=service.url, timeout=100, event_hooks={"response": [check]}) as client:
        yield client
