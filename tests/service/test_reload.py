"""Changing the model under load, in the real service."""

from __future__ import annotations

import shutil
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import httpx
import msgspec
import numpy as np
import pytest

from model import checkpoint as checkpoints
from model.captioner import Captioner
from model.config import BUNDLED, WEIGHTS
from model.preprocessing import load_pixels
from tests.pictures import picture
from tests.service.processes import Service, running, until

KEY = {"X-API-Key": "sesame"}
PICTURES = [picture(n) for n in range(4)]


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundled network for smaller pictures, and of another mind: all its captions are short."""
    folder = tmp_path_factory.mktemp("other")
    checkpoint = checkpoints.load(BUNDLED)
    config = checkpoint.config
    checkpoint.config = msgspec.structs.replace(
        config,
        preprocessing=msgspec.structs.replace(config.preprocessing, image_size=192),
        decoding=msgspec.structs.replace(config.decoding, max_length=4),
    )
    checkpoints.save(folder, checkpoint, "# Another", exact=True)  # other bytes, so another revision
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shutil.copytree(BUNDLED, tmp_path / "checkpoint")
    return tmp_path / "checkpoint"


def put(new: Path, folder: Path) -> None:
    for file in new.iterdir():
        shutil.copy(file, folder / file.name)


def captions_of(folder: Path) -> dict[str, list[str]]:
    """By revision what the checkpoint says of each picture."""
    captioner = Captioner.load(folder, engine="auto")
    pixels = np.stack([load_pixels(data, captioner.config.preprocessing) for data in PICTURES])
    results = captioner.caption(pixels, [1] * len(PICTURES))
    assert all(isinstance(result, list) for result in results)
    return {captioner.config.revision: [result[0].text for result in results]}


def reload(service: Service, **headers: str) -> httpx.Response:
    return httpx.post(f"{service.url}/model/reload", headers=headers or KEY, timeout=120)


class Answer(NamedTuple):
    picture: int
    status: int
    revision: str
    caption: str
    asked: float  # time.monotonic()


@contextmanager
def load(service: Service, clients: int = 4) -> Iterator[list[Answer]]:
    """Clients that caption without a pause; gives what they got."""
    seen: list[Answer] = []
    stop = threading.Event()

    def client(first: int) -> None:
        with httpx.Client(headers=KEY, timeout=120) as http:
            number = first
            while not stop.is_set():
                which, asked = number % len(PICTURES), time.monotonic()
                answer = http.post(f"{service.url}/caption", files={"image": PICTURES[which]})
                body = answer.json()
                revision = body.get("model", {}).get("revision", "")
                seen.append(Answer(which, answer.status_code, revision, body.get("caption", ""), asked))
                number += 1

    threads = [threading.Thread(target=client, args=[n]) for n in range(clients)]
    for thread in threads:
        thread.start()
    try:
        yield seen
    finally:
        stop.set()
        for thread in threads:
            thread.join()


@pytest.mark.timeout(600)
def test_a_new_model_takes_over_under_load(folder: Path, other: Path) -> None:
    expected = captions_of(BUNDLED) | captions_of(other)
    old, new = expected
    flags = (
        "--checkpoint",
        str(folder),
        "--api-keys",
        "sesame",
        "--http-workers",
        "2",
        "--device",
        "cpu,cpu",
    )
    with running(*flags) as service, load(service) as seen:
        until(lambda: len(seen) > 20)
        put(other, folder)
        answer = reload(service)
        assert (answer.status_code, answer.json()["revision"]) == (200, new)
        exchanged, before = time.monotonic(), len(seen)
        until(lambda: len(seen) > before + 20)
        exchanged_again = time.monotonic()
        put(BUNDLED, folder)
        service.process.send_signal(signal.SIGHUP)  # the other way to say it; standard input is no terminal
        health = f"{service.url}/health"
        until(lambda: httpx.get(health, timeout=30).json()["model"]["revision"] == old)
        until(lambda: len(seen) > before + 60 and {answer.revision for answer in seen[-8:]} == {old})
    assert Counter(answer.status for answer in seen).keys() == {200}
    between = [entry for entry in seen if exchanged < entry.asked < exchanged_again]
    assert {entry.revision for entry in between} == {new}
    assert seen[0].revision == old
    for entry in seen:
        assert entry.caption == expected[entry.revision][entry.picture]


def test_when_a_reload_is_answered_the_new_model_is_in_use(folder: Path, other: Path) -> None:
    """Also in a service that has nothing else to do, and for a reload right after another."""
    revisions = {path: checkpoints.read(path).config.revision for path in (BUNDLED, other)}
    flags = ("--checkpoint", str(folder), "--api-keys", "sesame", "--request-timeout", "1")
    with running(*flags) as service, httpx.Client(base_url=service.url, headers=KEY, timeout=120) as http:
        for new in (other, BUNDLED, other, BUNDLED):
            put(new, folder)
            assert http.post("/model/reload").json()["revision"] == revisions[new]
            answer = http.post("/caption", files={"image": PICTURES[0]}).json()
            assert answer["model"]["revision"] == revisions[new]


def test_a_bad_checkpoint_is_refused_and_the_old_one_stays(folder: Path) -> None:
    with running("--checkpoint", str(folder), "--api-keys", "sesame") as service:
        first = httpx.post(
            f"{service.url}/caption", files={"image": PICTURES[0]}, headers=KEY, timeout=120
        ).json()
        whole = (folder / WEIGHTS).read_bytes()
        (folder / WEIGHTS).write_bytes(whole[:-1])
        answer = reload(service)
        assert answer.status_code == 409
        assert answer.headers["content-type"] == "application/problem+json"
        assert str(folder) not in answer.text
        assert any("SHA-256" in line for line in service.lines)
        again = httpx.post(
            f"{service.url}/caption", files={"image": PICTURES[0]}, headers=KEY, timeout=120
        ).json()
        assert (again["caption"], again["model"]) == (first["caption"], first["model"])
        (folder / WEIGHTS).write_bytes(whole)
        assert reload(service).status_code == 200


def test_one_reload_at_a_time_and_a_worker_that_dies_ends_it(folder: Path) -> None:
    with running("--checkpoint", str(folder), "--api-keys", "sesame") as service:
        (worker,) = service.children("worker")
        worker.suspend()
        answers: list[httpx.Response] = []
        first = threading.Thread(target=lambda: answers.append(reload(service)))
        first.start()
        until(lambda: any("anew" in line for line in service.lines))
        assert reload(service).status_code == 409
        worker.kill()
        first.join()
        assert answers[0].status_code == 409
        service.wait_until_ready()
        assert reload(service).status_code == 200


def test_who_may_reload() -> None:
    with running("--api-keys", "sesame") as service:
        assert reload(service, **{"X-API-Key": "wrong"}).status_code == 401
    with running() as service:
        assert reload(service).status_code == 403
