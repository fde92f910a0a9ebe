"""The real service with the bundled checkpoint: batching, equal captions, several processes."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

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


def test_captions_are_the_same_whatever_the_batch(service: Service) -> None:
    alone = captions_of(service, 1)
    pictures, batches = (
        service.metric("captioner_batch_size_sum"),
        service.metric("captioner_batch_size_count"),
    )
    assert pictures == batches == len(PICTURES)
    together = captions_of(service, len(PICTURES))
    pictures, batches = (
        service.metric("captioner_batch_size_sum") - pictures,
        service.metric("captioner_batch_size_count") - batches,
    )
    assert pictures / batches > 1
    assert together == alone
    without_server = list(caption_many(Captioner.load(BUNDLED), PICTURES))
    assert [entry.text for entry in without_server if isinstance(entry, Caption)] == alone


def test_beam_search_through_the_service(service: Service) -> None:
    url = f"{service.url}/caption?beam=5&n=5"
    answer = httpx.post(url, files={"image": PICTURES[0]}, timeout=30).json()
    scores = [answer["log_probability"], *(other["log_probability"] for other in answer["alternatives"])]
    captions = {answer["caption"], *(other["caption"] for other in answer["alternatives"])}
    assert len(captions) == 5
    assert scores == sorted(scores, reverse=True)


def test_the_card_of_the_bundled_checkpoint(service: Service) -> None:
    card = httpx.get(f"{service.url}/model").json()
    assert card["architecture"]["encoder"] == "mobilenet_edgetpu"
    assert "CIDEr" in card["card"]


def test_several_front_ends_and_devices_share_the_work() -> None:
    with running("--http-workers", "2", "--device", "cpu,cpu") as service:
        captions_of(service, 16)
        assert service.metric('captioner_requests_total{code="200",route="/caption"}') == len(PICTURES)
        until(lambda: all(child.cpu_times().user > 0 for child in service.children("worker")))
        (first, _) = service.children("frontend")
        first.kill()
        until(lambda: len(service.children("frontend")) == 2 and first not in service.children("frontend"))
        until(service.ready)
        captions_of(service, 4)
        assert httpx.get(f"{service.url}/health").json()["queue"]["depth"] == 0
