"""The real service with the bundled checkpoint: batching, equal captions, several processes."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from model.bulk import caption_many
from model.caption import Caption
from model.captioner import Captioner
from model.config import BUNDLED
from tests.pictures import picture
from tests.service.processes import Service, running, until

PICTURES = [picture(seed) for seed in range(32)]


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    with running() as service:
        yield service


def captions_of(service: Service, clients: int) -> list[str]:
    with ThreadPoolExecutor(clients) as threads:
        responses = list(threads.map(service.caption, PICTURES))
    assert [response.status_code for response in responses] == [200] * len(PICTURES)
    return [response.json()["caption"] for response in responses]


def totals(service: Service) -> tuple[float, float]:
    """Pictures and batches so far."""
    return service.metric("captioner_batch_size_sum"), service.metric("captioner_batch_size_count")


def test_captions_are_the_same_whatever_the_batch(service: Service) -> None:
    batch_means, captions = [], []
    for clients in (1, 8, len(PICTURES)):
        pictures, batches = totals(service)
        captions.append(captions_of(service, clients))
        pictures, batches = totals(service)[0] - pictures, totals(service)[1] - batches
        assert pictures == len(PICTURES)
        batch_means.append(pictures / batches)
    assert batch_means[0] == 1 < min(batch_means[1:])
    alone = captions[0]
    assert captions == [alone] * 3
    without_server = list(caption_many(Captioner.load(BUNDLED, engine="auto"), PICTURES))
    assert [entry.text for entry in without_server if isinstance(entry, Caption)] == alone


def test_beam_search_through_the_service(service: Service) -> None:
    url = f"{service.url}/caption?beam=5&n=5"
    answer = httpx.post(url, files={"image": PICTURES[0]}, timeout=100).json()
    scores = [answer["log_probability"], *(other["log_probability"] for other in answer["alternatives"])]
    captions = {answer["caption"], *(other["caption"] for other in answer["alternatives"])}
    assert len(captions) == 5
    assert scores == sorted(scores, reverse=True)


def test_the_card_of_the_bundled_checkpoint(service: Service) -> None:
    card = httpx.get(f"{service.url}/model").json()
    assert card["architecture"]["encoder"] == "mobilenet_edgetpu"
    assert "CIDEr" in card["card"]


def test_int8_through_the_service() -> None:
    here = Captioner.load(BUNDLED, engine="openvino", precision="int8")
    expected = [entry.text for entry in caption_many(here, PICTURES) if isinstance(entry, Caption)]
    with running("--precision", "int8") as service:
        assert captions_of(service, 8) == expected


def test_several_front_ends_and_devices_share_the_work() -> None:
    with running("--http-workers", "2", "--device", "cpu,cpu") as service:
        until(lambda: httpx.get(f"{service.url}/health", timeout=30).json()["device"] == "cpu,cpu")
        until(lambda: service.metric('captioner_workers{state="ready"}') == 2)
        before = [worker.cpu_times().user for worker in service.children("worker")]
        captions_of(service, 16)
        after = [worker.cpu_times().user for worker in service.children("worker")]
        assert all(b - a > 0.1 for a, b in zip(before, after, strict=True))  # an idle worker takes far less
        assert service.metric('captioner_requests_total{code="200",route="/caption"}') == len(PICTURES)
        (first, _) = service.children("frontend")
        first.kill()
        until(lambda: len(service.children("frontend")) == 2 and first not in service.children("frontend"))
        until(service.ready)
        captions_of(service, 4)
        assert httpx.get(f"{service.url}/health", timeout=30).json()["queue"]["depth"] == 0


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries give memory back, or cannot")
def test_what_a_burst_left_goes_back_when_there_is_no_work() -> None:
    with running() as service:
        (front_end,), (worker,) = service.children("frontend"), service.children("worker")
        large = [picture(seed, (1000, 750)) for seed in range(64)]
        with ThreadPoolExecutor(len(large)) as threads:
            assert {response.status_code for response in threads.map(service.caption, large)} == {200}
        busy = [process.memory_info().rss for process in (front_end, worker)]
        until(lambda: front_end.memory_info().rss < busy[0] - 4e6, 20)
        until(lambda: worker.memory_info().rss < busy[1] - 4e6, 20)


def test_a_folder_that_holds_other_modules_is_no_harm(tmp_path: Path) -> None:
    for name in ("model", "service"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('not ours')")
    with running(cwd=tmp_path) as service:
        assert service.caption(PICTURES[0]).status_code == 200
