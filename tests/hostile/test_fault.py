"""Rows 54 to 66: parts of the service fail. (Rows 55, 56, 61 to 64: tests/service/test_faults.py.)"""

from __future__ import annotations

import hashlib
import io
import math
import pickle
import shutil
import socket
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from PIL import Image

from model.checkpoint import load, save
from model.config import BUNDLED, CONFIG, WEIGHTS, load_config
from tests.pictures import picture
from tests.service.processes import CAPTIONER, Service, running, until
from tests.service.wire import connect, everything

GOOD = picture(3)


def plain(colour: tuple[int, int, int]) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (64, 64), colour).save(out, "PNG")
    return out.getvalue()


RAISES, DOES_NOT_FIT = plain((255, 0, 0)), plain((0, 255, 0))


@pytest.fixture(scope="module")
def faulty() -> Iterator[Service]:
    """A service whose model fails on plain red, and on more than one picture with plain green among them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(Path(__file__).with_name("faulty")))
        with running() as service:
            yield service


@pytest.mark.row(54)
def test_a_model_that_raises(faulty: Service, measured: Callable[[str], None]) -> None:
    assert faulty.caption(GOOD).status_code == 200
    answer = faulty.caption(RAISES)
    assert answer.status_code == 503
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["retry-after"]
    assert "fault" not in answer.text
    with ThreadPoolExecutor(12) as threads:
        statuses = Counter(
            answer.status_code for answer in threads.map(faulty.caption, [GOOD, RAISES, GOOD, GOOD] * 8)
        )
    assert statuses == {200: 24, 503: 8}  # the same batch's others were tried again, and are none the worse
    assert faulty.metric("captioner_worker_restarts_total") == 0
    measured("503, and 200 for the others of its batch and the next")


@pytest.mark.row(57)
def test_a_device_out_of_memory(faulty: Service, measured: Callable[[str], None]) -> None:
    with ThreadPoolExecutor(16) as threads:
        answers = list(threads.map(faulty.caption, [DOES_NOT_FIT] * 32))
    assert {answer.status_code for answer in answers} == {200}
    until(lambda: any("out of memory with a batch of" in line for line in faulty.lines))
    assert faulty.caption(GOOD).status_code == 200
    measured("32 × 200 in halved batches")


@pytest.mark.row(58)
def test_a_network_of_nans_gives_no_caption(tmp_path: Path, measured: Callable[[str], None]) -> None:
    broken = load(BUNDLED)
    broken.network.output.weight.data.fill_(math.nan)
    save(tmp_path / "nan", broken)
    assert "values that are not finite" in refusal(tmp_path / "nan")
    broken.network.output.weight.data.fill_(3e38)  # itself finite, but no sum over it is
    save(tmp_path / "nan", broken, exact=True)
    with running("--checkpoint", str(tmp_path / "nan")) as service:
        for query in ("", "?beam=3&n=3"):
            files = {"image": GOOD}
            answer = httpx.post(f"{service.url}/caption{query}", files=files, timeout=100)
            assert answer.status_code == 503
            assert answer.headers["retry-after"]
            assert answer.json()["type"] == "urn:captioner:problem:inference-failed"
    measured("503")


class Trap:
    """Makes a folder where it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Callable[[Path], None], tuple[Path]]:
        return Path.mkdir, (self.folder,)


@pytest.mark.row(59)
def test_a_checkpoint_that_is_none(tmp_path: Path, measured: Callable[[str], None]) -> None:
    weights, trap = (BUNDLED / WEIGHTS).read_bytes(), tmp_path / "sprung"
    kinds = {
        "truncated": weights[: len(weights) // 2],
        "altered": bytes([weights[0] ^ 1]) + weights[1:],
        "pickle": pickle.dumps(Trap(trap)),
    }
    for name, contents in kinds.items():
        shutil.copytree(BUNDLED, tmp_path / name)
        (tmp_path / name / WEIGHTS).write_bytes(contents)
    shutil.copytree(tmp_path / "pickle", tmp_path / "pickle, its hash right")
    config = tmp_path / "pickle, its hash right" / CONFIG
    known, own = load_config(BUNDLED).files[WEIGHTS], hashlib.sha256(kinds["pickle"]).hexdigest()
    config.write_text(config.read_text().replace(known, own))
    folders = ["missing", *kinds, "pickle, its hash right"]
    with ThreadPoolExecutor(len(folders)) as threads:
        said = dict(zip(folders, threads.map(lambda name: refusal(tmp_path / name), folders), strict=True))
    assert "config.json is missing" in said["missing"]
    assert all(f"{WEIGHTS} was altered" in said[name] for name in kinds)
    assert f"{WEIGHTS} is not a safetensors file" in said["pickle, its hash right"]
    assert not trap.exists()
    measured("one line, exit code 1, nothing unpickled")


def refusal(checkpoint: Path) -> str:
    """What the service says of a checkpoint that it does not start with."""
    done = subprocess.run(
        [CAPTIONER, "serve", "--port", "0", "--checkpoint", str(checkpoint)],
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 1
    (line,) = (line for line in done.stderr.splitlines() if "listening on" not in line)
    return line


@pytest.fixture(scope="module")
def poor() -> Iterator[tuple[Service, psutil.Process]]:
    """A service of our own, and its front end, whose limits a test may lower."""
    with running() as service:
        (front_end,) = service.children("frontend")
        yield service, front_end


@pytest.mark.row(60)
def test_a_full_disk_costs_nothing(
    poor: tuple[Service, psutil.Process], measured: Callable[[str], None]
) -> None:
    """Uploads stay in memory, so that there is nothing to answer 503 for."""
    service, front_end = poor
    before = front_end.rlimit(psutil.RLIMIT_FSIZE)
    front_end.rlimit(psutil.RLIMIT_FSIZE, (0, before[1]))  # not one byte more into any file
    try:
        large = picture(4, (1800, 1600), "BMP")  # 8.6 MB, which others put into a temporary file
        assert service.caption(large).status_code == 200
    finally:
        front_end.rlimit(psutil.RLIMIT_FSIZE, before)
    measured("200: uploads stay in memory; where a start needs the folder, one line and exit code 1")


@pytest.mark.row(65)
def test_descriptors_that_run_out(
    poor: tuple[Service, psutil.Process], measured: Callable[[str], None]
) -> None:
    service, front_end = poor
    before = front_end.rlimit(psutil.RLIMIT_NOFILE)
    front_end.rlimit(psutil.RLIMIT_NOFILE, (64, before[1]))
    clients = [connect(service.url) for _ in range(100)]
    until(lambda: front_end.num_fds() >= 63)
    started = time.monotonic()
    for client in clients:
        client.close()
    assert service.caption(GOOD).status_code == 200
    measured(f"200, {time.monotonic() - started:.1f} s after the connections were closed")
    assert front_end.is_running()
    front_end.rlimit(psutil.RLIMIT_NOFILE, before)


@pytest.mark.row(66)
def test_a_client_that_stops_reading(service: Service, measured: Callable[[str], None]) -> None:
    with connect(service.url) as client:
        request = b"GET /static/swagger/swagger-ui-bundle.js HTTP/1.1\r\nHost: x\r\n\r\n"
        client.sendall(request * 30)  # 45 MB of answers: more than the kernel holds for us
        (front_end,) = service.children("frontend")

        def held() -> bool:
            return any(is_ours(c, client) for c in front_end.net_connections("tcp4"))

        until(held, 60)  # a busy machine takes its time to accept it
        started = time.monotonic()
        until(lambda: not held(), 60)
        measured(f"closed after {time.monotonic() - started:.1f} s")
        client.settimeout(10)
        assert len(everything(client)) < 30 * 1_500_000  # it was cut off


def is_ours(connection: Any, client: socket.socket) -> bool:
    """Whether it is the service's end of a client's connection."""
    return bool(connection.raddr) and connection.raddr.port == client.getsockname()[1]


def test_a_killed_front_end_costs_only_its_own_requests(measured: Callable[[str], None]) -> None:
    with running("--http-workers", "2") as service:

        def send(n: int) -> int:
            time.sleep(n / 20)
            with suppress(httpx.TransportError):
                return service.caption(GOOD).status_code
            return 0

        with ThreadPoolExecutor(64) as threads:
            answers = [threads.submit(send, n) for n in range(40)]
            time.sleep(1)
            first, other = service.children("frontend")
            first.kill()
            statuses = Counter(answer.result() for answer in answers)
        assert statuses.keys() <= {0, 200}
        assert statuses[200] >= 20
        until(lambda: len(service.children("frontend")) == 2)
        assert other in service.children("frontend")
        assert service.caption(GOOD).status_code == 200
        assert httpx.get(f"{service.url}/health", timeout=30).json()["queue"]["depth"] == 0
