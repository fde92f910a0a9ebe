"""docker/kubernetes, judged without a cluster; ``make kubernetes`` knows the schemas of the API."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import yaml

from service.app import create_app
from service.settings import PREFIX, Settings
from service.supervisor import STOP_GRACE_S
from tests.service.fakes import FakeRunner, on_a_port

FOLDER = Path(__file__).parents[1] / "docker" / "kubernetes"
RESOURCES: dict[str, dict[str, Any]] = {
    file.stem: yaml.safe_load(file.read_text("utf-8")) for file in FOLDER.glob("*.yaml")
}
POD = RESOURCES["deployment"]["spec"]["template"]
(CONTAINER,) = POD["spec"]["containers"]


def test_every_file_is_among_the_resources() -> None:
    named = RESOURCES["kustomization"]["resources"]
    assert sorted(named) == sorted(f"{name}.yaml" for name in RESOURCES if name != "kustomization")
    assert {resource["metadata"]["namespace"] for name, resource in RESOURCES.items() if name not in (
        "kustomization", "namespace"
    )} == {"captioner"}  # fmt: skip


def test_every_selector_finds_the_pods() -> None:
    labels = POD["metadata"]["labels"].items()
    spec = {name: resource.get("spec", {}) for name, resource in RESOURCES.items()}
    for selector in (
        spec["deployment"]["selector"]["matchLabels"],
        spec["service"]["selector"],
        spec["disruption"]["selector"]["matchLabels"],
        spec["network"]["podSelector"]["matchLabels"],
    ):
        assert selector.items() <= labels
    assert spec["autoscaler"]["scaleTargetRef"]["name"] == RESOURCES["deployment"]["metadata"]["name"]


def test_a_pod_has_time_to_drain_after_it_has_waited() -> None:
    wait_s = int(CONTAINER["lifecycle"]["preStop"]["exec"]["command"][1])
    longest = Settings.model_fields["drain_timeout"].default + 2 * STOP_GRACE_S
    assert POD["spec"]["terminationGracePeriodSeconds"] > wait_s + longest


def test_its_settings_port_probes_and_metric_are_the_services() -> None:
    names = {variable["name"] for variable in CONTAINER["env"]}
    assert names <= {f"{PREFIX}{name.upper()}" for name in Settings.model_fields}
    (port,) = CONTAINER["ports"]
    assert port["containerPort"] == Settings.model_fields["port"].default
    (metric,) = RESOURCES["autoscaler"]["spec"]["metrics"]
    with on_a_port(create_app(Settings(), FakeRunner())) as url:
        for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
            # as the kubelet asks: by the pod's address, not by a name
            answer = httpx.get(
                f"{url}{CONTAINER[probe]['httpGet']['path']}", headers={"Host": "10.1.2.3:8000"}
            )
            assert answer.status_code == 200
        assert f"\n{metric['pods']['metric']['name']} " in httpx.get(f"{url}/metrics").text
