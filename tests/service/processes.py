"""The real service: ``captioner serve`` as a process of its own, on a free port."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import psutil

CAPTIONER = str(Path(sys.executable).with_name("captioner"))
PATIENCE_S = 120.0  # for what takes seconds on an idle machine
# The service's own limits, for the same reason. A test that is about them says its own, and the last counts.
PATIENT = ("--request-timeout", "90", "--drain-timeout", "60")


class Service:
    """A running ``captioner serve``."""

    def __init__(self, *flags: str, cwd: Path | None = None) -> None:
        self.process = subprocess.Popen(
            [CAPTIONER, "serve", "--port", "0", *PATIENT, *flags],
            cwd=cwd,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.lines: list[str] = []
        threading.Thread(target=self._read, daemon=True).start()
        self.url = self._wait_for_url()

    def _read(self) -> None:
        assert self.process.stderr
        for line in self.process.stderr:
            self.lines.append(line)

    def _wait_for_url(self) -> str:
        until(lambda: any("listening" in line for line in self.lines) or self.process.poll() is not None)
        found = re.search(r"http://\S+", "".join(self.lines))
        return found[0] if found else ""

    def ready(self) -> bool:
        try:
            return httpx.get(f"{self.url}/health", timeout=5).status_code == 200
        except httpx.HTTPError:
            return False

    def wait_until_ready(self) -> None:
        until(lambda: self.ready() or self.process.poll() is not None)
        assert self.process.poll() is None, "".join(self.lines)

    def caption(self, picture: bytes, timeout: float = PATIENCE_S) -> httpx.Response:
        return httpx.post(f"{self.url}/caption", files={"image": picture}, timeout=timeout)

    def metric(self, name: str) -> float:
        text = httpx.get(f"{self.url}/metrics", timeout=30).text
        found = re.search(rf"^{re.escape(name)} (\S+)$", text, re.M)
        return float(found[1]) if found else 0.0

    def children(self, module: str) -> list[psutil.Process]:
        found = []
        for child in psutil.Process(self.process.pid).children():
            with suppress(psutil.NoSuchProcess):  # it ended while we looked
                if f"service.{module}" in child.cmdline():
                    found.append(child)
        return found

    def wait(self, seconds: float = PATIENCE_S) -> int:
        return self.process.wait(seconds)


@contextmanager
def running(*flags: str, cwd: Path | None = None) -> Iterator[Service]:
    """A service that is ready; killed at the end if it still runs."""
    service = Service(*flags, cwd=cwd)
    try:
        service.wait_until_ready()
        yield service
    finally:
        stop(service)


def stop(service: Service) -> None:
    if service.process.poll() is None:
        service.process.kill()
        service.process.wait()


def until(condition: Callable[[], bool], seconds: float = PATIENCE_S) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)
