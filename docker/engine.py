"""What the checks beside this file share: the Docker engine, and clients that send pictures without pause."""

from __future__ import annotations

import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import httpx

ROOT = Path(__file__).parent.parent
PICTURES = [path.read_bytes() for path in sorted((ROOT / "service/static/samples").glob("*.jpg"))]
PATIENCE_S = 180.0
ACCEPTED_S = 0.5  # a request that began so long before a stop had been accepted


def run(*command: str, quiet: bool = True) -> str:
    """Run a command in the project's folder; gives its standard output.

    :raises SystemExit: it failed; says what it said
    """
    done = subprocess.run(command, cwd=ROOT, capture_output=quiet, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")
    return (done.stdout or "").strip()


def docker(*arguments: str) -> str:
    return run("docker", *arguments)


def inspect(name: str, template: str) -> str:
    return docker("inspect", "--format", template, name)


def until(condition: Callable[[], bool], what: str, seconds: float = PATIENCE_S) -> float:
    """Wait for it; gives the seconds it took."""
    started = time.monotonic()
    while not condition():
        expect(time.monotonic() < started + seconds, f"{what} within {seconds:.0f} s")
        time.sleep(0.1)
    return time.monotonic() - started


def healthy(container: str) -> float:
    """Wait for the engine to call the container healthy; gives the seconds it took."""
    return until(
        lambda: inspect(container, "{{.State.Health.Status}}") == "healthy", f"{container} is healthy"
    )


def expect(true: bool, what: str) -> None:
    if not true:
        raise SystemExit(f"not so: {what}")


def row(what: str, seen: object) -> None:
    print(f"| {what} | {seen} |", flush=True)


def caption(url: str, picture: bytes = PICTURES[0], timeout: float = 60) -> httpx.Response:
    return httpx.post(f"{url}/caption", files={"image": picture}, timeout=timeout)


class Load:
    """Clients that send one picture after another, each on a connection of its own, while the block runs.

    ``outcomes`` counts statuses, and exceptions by their names.
    """

    def __init__(self, url: str, clients: int) -> None:
        self.url = url
        self.outcomes: Counter[str] = Counter()
        self.stopped = float("inf")  # when the service was told to stop
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._client, args=(n,)) for n in range(clients)]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _client(self, number: int) -> None:
        while not self._over.is_set():
            started = time.monotonic()
            number += 1
            try:
                outcome = str(caption(self.url, PICTURES[number % len(PICTURES)]).status_code)
            except httpx.TransportError as error:
                late = started > self.stopped - ACCEPTED_S
                outcome = "not accepted" if late else type(error).__name__
                time.sleep(0.1)
            self.outcomes[outcome] += 1

    def __str__(self) -> str:
        return ", ".join(f"{count} × {what}" for what, count in self.outcomes.most_common())
