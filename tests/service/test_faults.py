"""What the real service does when parts of it die, hang or cannot start, and how it stops."""

from __future__ import annotations

import os
import pickle
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import httpx
import psutil
import pytest

from model.checkpoint import load
from model.config import BUNDLED, CONFIG, WEIGHTS
from model.errors import CheckpointError
from service.settings import Settings, SettingsError, load_settings
from service.supervisor import StartError, serve
from tests.pictures import picture
from tests.service.processes import CAPTIONER, Service, running, stop, until

PICTURES = [picture(seed) for seed in range(8)]


def send(service: Service, threads: ThreadPoolExecutor, count: int) -> list[Future[httpx.Response]]:
    return [threads.submit(service.caption, PICTURES[n % len(PICTURES)]) for n in range(count)]


@pytest.fixture(scope="module")
def started() -> Iterator[list[Service]]:
    services: list[Service] = []
    yield services
    for service in services:
        stop(service)


@pytest.fixture
def service(started: list[Service]) -> Service:
    """A service that is ready: that of the test before if it left one running, for a start takes long."""
    if not started or started[-1].process.poll() is not None:
        started.append(Service())
    started[-1].wait_until_ready()
    return started[-1]


@pytest.mark.row(55)
def test_a_killed_worker_costs_no_answer(service: Service, measured: Callable[[str], None]) -> None:
    batches = service.metric("captioner_batch_size_count")
    restarts = service.metric("captioner_worker_restarts_total")
    with ThreadPoolExecutor(64) as threads:
        answers = send(service, threads, 256)
        until(lambda: service.metric("captioner_batch_size_count") >= batches + 2)
        (worker,) = service.children("worker")
        worker.kill()
        killed = time.monotonic()
        until(lambda: not service.ready())
        until(lambda: service.metric('captioner_workers{state="loading"}') == 1)
        until(service.ready)
        back_s = time.monotonic() - killed
        responses = [answer.result() for answer in answers]
        statuses = Counter(response.status_code for response in responses)
        assert statuses.keys() <= {200, 503}
        assert statuses[200] > 0
        assert all("retry-after" in response.headers for response in responses if response.status_code == 503)
        assert service.metric("captioner_worker_restarts_total") == restarts + 1
        assert service.caption(PICTURES[0]).status_code == 200
        assert httpx.get(f"{service.url}/health", timeout=30).json()["queue"]["depth"] == 0
        measured(f"{statuses[200]} × 200, {statuses[503]} × 503, ready again after {back_s:.1f} s")


def test_a_worker_killed_during_a_stop_is_still_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1] / "hostile" / "slow"))
    with running() as service, ThreadPoolExecutor(16) as threads:
        answers = send(service, threads, 16)
        until(lambda: httpx.get(f"{service.url}/health", timeout=30).json()["queue"]["depth"] >= 4)
        (worker,) = service.children("worker")
        service.process.send_signal(signal.SIGTERM)
        until(lambda: any("stopping" in line for line in service.lines))
        worker.kill()
        statuses = Counter(answer.result().status_code for answer in answers)
        assert statuses.keys() <= {200, 503}
        assert statuses[200] >= 4
        assert service.wait() == 0


@pytest.mark.row(56)
def test_a_hung_worker_gives_504_and_is_replaced(measured: Callable[[str], None]) -> None:
    with running("--request-timeout", "3") as service:
        (worker,) = service.children("worker")
        worker.suspend()
        suspended = time.monotonic()
        response = service.caption(PICTURES[0])
        assert response.status_code == 504
        until(lambda: worker not in service.children("worker") and bool(service.children("worker")))
        until(service.ready)
        measured(f"504, replaced and ready {time.monotonic() - suspended:.1f} s after (deadline 3 s)")
        assert service.caption(PICTURES[0]).status_code == 200
        assert service.metric("captioner_worker_restarts_total") == 1


@pytest.mark.row(56)
def test_a_hung_front_end_is_replaced(measured: Callable[[str], None]) -> None:
    with running("--http-workers", "2", "--request-timeout", "3") as service:
        until(lambda: len(service.children("frontend")) == 2)
        hung, other = service.children("frontend")
        hung.suspend()
        suspended = time.monotonic()
        until(lambda: hung not in service.children("frontend") and len(service.children("frontend")) == 2)
        measured(f"a stopped front end is replaced after {time.monotonic() - suspended:.1f} s (deadline 3 s)")
        assert other in service.children("frontend")
        assert any("has shown no life for" in line for line in service.lines)
        for seed in range(8):
            assert service.caption(PICTURES[seed]).status_code == 200


def test_who_was_frozen_together_is_not_taken_for_hung() -> None:
    with running("--http-workers", "2", "--request-timeout", "1") as service:
        until(lambda: len(service.children("frontend")) == 2)
        supervisor = psutil.Process(service.process.pid)
        children = supervisor.children()
        for process in (supervisor, *children):
            process.suspend()
        time.sleep(4)  # the longest a sign of life may take is 2
        supervisor.resume()  # it looks first
        time.sleep(1)
        for process in children:
            process.resume()
        time.sleep(1)
        assert set(service.children("frontend") + service.children("worker")) == set(children)
        assert service.caption(PICTURES[0]).status_code == 200


@pytest.mark.row(61)
@pytest.mark.parametrize("whole_group", [False, True])
def test_a_stop_answers_what_was_accepted(
    service: Service, whole_group: bool, measured: Callable[[str], None]
) -> None:
    (worker,) = service.children("worker")
    with ThreadPoolExecutor(64) as threads:
        worker.suspend()  # so that there is accepted work, however fast the machine is
        answers = send(service, threads, 64)
        until(lambda: httpx.get(f"{service.url}/health", timeout=30).json()["queue"]["depth"] >= 4)
        if whole_group:
            os.killpg(service.process.pid, signal.SIGTERM)
        else:
            service.process.send_signal(signal.SIGTERM)
        worker.resume()
        until(lambda: not service.ready())
        statuses = Counter(answer.result().status_code for answer in answers)
        assert statuses.keys() <= {200, 503}
        assert statuses[200] >= 4
        assert service.wait() == 0
        measured(f"exit 0; {statuses[200]} × 200, {statuses[503]} × 503")
        assert not any(line.startswith("Traceback") for line in service.lines)


@pytest.mark.row(62)
def test_a_stop_does_not_wait_for_slow_uploads_beyond_the_grace_period(
    measured: Callable[[str], None],
) -> None:
    with running("--drain-timeout", "1", "--request-timeout", "150") as service:
        address = ("127.0.0.1", int(service.url.rsplit(":", 1)[1]))
        with socket.create_connection(address) as client:
            client.sendall(
                b"POST /caption HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\nContent-Length: 9\r\n\r\n"
            )
            time.sleep(0.3)
            service.process.send_signal(signal.SIGINT)
            stopped = time.monotonic()
            assert service.wait(60) == 0
            measured(f"exit 0 after {time.monotonic() - stopped:.1f} s (grace period 1 s)")


@pytest.mark.row(63)
def test_a_stop_while_loading_exits_at_once(measured: Callable[[str], None]) -> None:
    service = Service()
    try:
        assert service.url
        until(lambda: httpx.get(f"{service.url}/health/live", timeout=30).status_code == 200)
        health = httpx.get(f"{service.url}/health")
        assert (health.status_code, health.json()["status"]) == (503, "loading")
        service.process.send_signal(signal.SIGTERM)
        stopped = time.monotonic()
        assert service.wait() == 0
        measured(f"exit 0 after {time.monotonic() - stopped:.1f} s")
    finally:
        stop(service)


def test_nothing_outlives_a_killed_supervisor() -> None:
    with running() as service:
        children = psutil.Process(service.process.pid).children()
        assert len(children) == 2
        service.process.kill()
        _, alive = psutil.wait_procs(children, timeout=60)
        assert not alive


def fails_to_start(*flags: str) -> str:
    """Start the service, see it fail; gives what it says, which is one line."""
    done = subprocess.run(
        [CAPTIONER, "serve", "--port", "0", *flags], capture_output=True, text=True, timeout=150
    )
    assert done.returncode == 1
    said = [line for line in done.stderr.splitlines() if "listening on" not in line]
    assert len(said) == 1, done.stderr
    return said[0]


@pytest.mark.row(64)
def test_a_port_in_use_is_said_in_one_line(measured: Callable[[str], None]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert f"--port {port}: the port is in use" in fails_to_start("--port", str(port))
    measured("one line, exit code 1")


@pytest.mark.row(60)
def test_a_missing_folder_for_temporary_files_is_said_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", "/nonexistent/folder")
    with pytest.raises(StartError, match="temporary files"):
        serve(Settings(port=0))


def test_a_wrong_setting_stops_the_start() -> None:
    assert "setting --max-queue (CAPTIONER_MAX_QUEUE) is wrong" in fails_to_start("--max-queue", "0")


@pytest.mark.parametrize(
    ("flag", "value"), [("--max-queue", "0"), ("--device", "gpu"), ("--port", "x"), ("--log-format", "xml")]
)
def test_a_wrong_setting_is_named(flag: str, value: str) -> None:
    name = flag[2:].replace("-", "_")
    with pytest.raises(SettingsError, match=rf"setting {flag} \(CAPTIONER_{name.upper()}\) is wrong"):
        load_settings({name: value})


def test_an_unusable_checkpoint_stops_the_start(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"config\.json is missing"):
        load(tmp_path / "none")
    altered = tmp_path / "altered"
    shutil.copytree(BUNDLED, altered)
    weights = bytearray((altered / WEIGHTS).read_bytes())
    weights[-1] ^= 1
    (altered / WEIGHTS).write_bytes(weights)
    assert "was altered" in fails_to_start("--checkpoint", str(altered))
    (altered / WEIGHTS).write_bytes(pickle.dumps({"weights": [1.0]}))
    with pytest.raises(CheckpointError, match="was altered"):
        load(altered)
    (altered / CONFIG).write_text("{}")
    with pytest.raises(CheckpointError, match="format version"):
        load(altered)
