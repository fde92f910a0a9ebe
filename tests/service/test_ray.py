"""The service on Ray, on one node (several, of which one is killed: benchmarks/ray_nodes.py)."""

from __future__ import annotations

import asyncio
import signal
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
import psutil
import pytest
import yaml

from model.captioner import Captioner
from model.config import BUNDLED
from model.preprocessing import load_pixels
from service.errors import NotReady
from service.settings import SettingsError, load_settings
from tests.pictures import picture
from tests.service.processes import PATIENCE_S, Service, running, until

pytest.importorskip("ray", reason="Ray is not installed, so the service on it is NOT tested")

ROOT = Path(__file__).parents[2]
PICTURES = [picture(n) for n in range(4)]


@pytest.fixture(scope="module")
def service(ray_folder: None) -> Iterator[Service]:
    with running("--engine", "ray") as service:
        yield service


@pytest.fixture(scope="module")
def captions() -> list[str]:
    """What the model says of each picture."""
    captioner = Captioner.load(BUNDLED, engine="auto")
    pixels = np.stack([load_pixels(data, captioner.config.preprocessing) for data in PICTURES])
    results = captioner.caption(pixels, [1] * len(PICTURES))
    return [result[0].text for result in results if isinstance(result, list)]


def replicas(deployment: str) -> list[psutil.Process]:
    return [p for p in psutil.process_iter() if f"ServeReplica:captioner:{deployment}" in " ".join(_line(p))]


def _line(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def test_the_contract_holds(service: Service, captions: list[str]) -> None:
    for data, caption in zip(PICTURES, captions, strict=True):
        assert service.caption(data).json()["caption"] == caption
    beams = httpx.post(f"{service.url}/caption?beam=3&n=3", files={"image": PICTURES[0]}, timeout=90).json()
    assert len(beams["alternatives"]) == 2
    refused = service.caption(b"no picture")
    assert refused.status_code == 415
    assert refused.headers["content-type"] == "application/problem+json"
    assert refused.json()["request_id"] == refused.headers["x-request-id"]
    health = httpx.get(f"{service.url}/health", timeout=30).json()
    assert (health["status"], health["device"]) == ("ok", "cpu")
    assert "captioner_requests_total" in httpx.get(f"{service.url}/metrics", timeout=30).text
    assert "<html" in httpx.get(f"{service.url}/", timeout=30).text
    answer = httpx.post(f"{service.url}/model/reload", timeout=30)
    assert answer.status_code == 403


def test_a_reload_says_how_a_model_is_exchanged_on_ray() -> None:
    from ray.serve.handle import DeploymentHandle

    from service.ray_runner import RayRunner

    runner = RayRunner(DeploymentHandle("Model", "captioner"))
    with pytest.raises(NotReady, match="by deploying the application again"):
        asyncio.run(runner.reload())


def test_pictures_are_batched(service: Service) -> None:
    with ThreadPoolExecutor(16) as threads:
        answers = list(threads.map(service.caption, PICTURES * 8))
    assert max(answer.json()["timing"]["batch_size"] for answer in answers) > 1


def test_a_killed_replica_costs_no_answer(service: Service, captions: list[str]) -> None:
    """Each request that came in is captioned; whoever is turned away, because the new replica takes its time,
    is told when to come back."""

    def caption(data: bytes) -> httpx.Response:
        end = time.monotonic() + PATIENCE_S
        while (answer := service.caption(data)).status_code == 503 and time.monotonic() < end:
            if answer.json()["detail"] != "the service is unavailable":
                break
            time.sleep(float(answer.headers["retry-after"]))
        return answer

    until(lambda: bool(replicas("Model")))
    with ThreadPoolExecutor(8) as threads:
        answers = [threads.submit(caption, PICTURES[n % 4]) for n in range(120)]
        until(lambda: sum(answer.done() for answer in answers) > 10)
        for replica in replicas("Model"):
            replica.kill()
        seen = Counter((a.result().status_code, a.result().json().get("detail")) for a in answers)
    assert seen == {(200, None): 120}
    assert {answer.result().json()["caption"] for answer in answers} == set(captions)


def test_a_stop_ends_with_exit_code_0(service: Service) -> None:
    service.process.send_signal(signal.SIGTERM)
    assert service.wait() == 0
    until(lambda: not replicas("Model") and not replicas("FrontEnd"))


def test_ray_serve_takes_the_application_and_the_configurations() -> None:
    from ray.serve.schema import ServeDeploySchema

    from service.ray_app import app, application

    front_end = app({"max_queue": "64"})._bound_deployment
    names = {front_end.name, front_end.init_args[0]._bound_deployment.name}
    assert names == {"FrontEnd", "Model"}
    with pytest.raises(SettingsError, match="--max-queue"):
        app({"max_queue": "none"})
    for device in ("cpu,cpu", "cuda:1"):
        with pytest.raises(SettingsError, match="--device"):
            application(load_settings({"device": device}))
    folder = ROOT / "docker" / "ray"
    manifest = yaml.safe_load((folder / "rayservice.yaml").read_text())
    for text in ((folder / "serve.yaml").read_text(), manifest["spec"]["serveConfigV2"]):
        (config,) = ServeDeploySchema.model_validate(yaml.safe_load(text)).applications
        assert config.import_path == "service.ray_app:app"
        assert {deployment.name for deployment in config.deployments} == names
        load_settings(config.args)
