"""docker-compose.yml and what it mounts, as far as that can be judged without a Docker engine."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from service.app import create_app
from service.settings import PREFIX, Settings
from service.supervisor import STOP_GRACE_S
from tests.pictures import picture
from tests.service.fakes import FakeRunner, on_a_port

ROOT = Path(__file__).parent.parent
DOCKER = ROOT / "docker"
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text("utf-8"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = [name for name, service in SERVICES.items() if str(service["image"]).startswith("captioner:c")]
DASHBOARD = json.loads((DOCKER / "grafana/dashboards/captioner.json").read_text("utf-8"))
ALERTS = yaml.safe_load((DOCKER / "prometheus/alerts.yml").read_text("utf-8"))


def seconds(text: str) -> float:
    return float(text.removesuffix("s"))


@pytest.mark.parametrize("name", SERVICES)
def test_every_container_is_confined(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["mem_limit"]
    assert not service.keys() & {"privileged", "cap_add", "devices", "network_mode", "pid", "user"}
    for volume in service.get("volumes", []):
        named = volume.partition(":")[0] in COMPOSE["volumes"]
        assert named or volume.endswith(":ro"), volume


@pytest.mark.parametrize("name", OURS)
def test_the_service_has_one_tmpfs_and_time_to_drain(name: str) -> None:
    service = SERVICES[name]
    assert len(service["tmpfs"]) == 1
    assert service["memswap_limit"] == service["mem_limit"]
    longest = Settings.model_fields["drain_timeout"].default + 2 * STOP_GRACE_S
    assert seconds(service["stop_grace_period"]) > longest


@pytest.mark.parametrize("name", OURS)
def test_every_setting_that_is_handed_on_exists(name: str) -> None:
    variables = [entry.partition("=")[0] for entry in SERVICES[name]["environment"]]
    known = {PREFIX + field.upper() for field in Settings.model_fields}
    assert set(variables) <= known
    fixed_here = {"CAPTIONER_HOST", "CAPTIONER_PORT", "CAPTIONER_DRAIN_TIMEOUT"}
    assert known - set(variables) == fixed_here


def test_compose_up_starts_the_service_alone() -> None:
    assert [name for name, service in SERVICES.items() if "profiles" not in service] == ["captioner"]
    assert {p for s in SERVICES.values() for p in s.get("profiles", [])} == {"gpu", "observability", "scale"}


def test_every_file_that_is_mounted_or_built_from_is_there() -> None:
    for service in SERVICES.values():
        for volume in service.get("volumes", []):
            source = re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", volume).partition(":")[0]
            assert source in COMPOSE["volumes"] or (ROOT / source).is_dir(), source
        if "build" in service:
            build = service["build"]
            file = build["dockerfile"] if isinstance(build, dict) else f"{build}/Dockerfile"
            assert (ROOT / file).is_file()


def test_what_the_image_is_built_from_reaches_the_build() -> None:
    """Sources that COPY names are let through by .dockerignore, and are there."""
    let_through = re.findall(r"^!(.+)$", (ROOT / ".dockerignore").read_text("utf-8"), re.M)
    files = "".join(
        file.read_text("utf-8") for file in DOCKER.rglob("Dockerfile") if "balancer" not in file.parts
    )
    copies = re.findall(r"^COPY (?!--from)(.+) \S+$", files, re.M)
    sources = {source for copy in copies for source in copy.split()}
    assert sources == set(let_through)
    for source in sources:
        assert (ROOT / source).exists(), source


def test_the_images_version_is_that_of_the_package() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"]
    said = re.findall(r"^ARG VERSION=(.+)$", (DOCKER / "Dockerfile").read_text("utf-8"), re.M)
    assert said
    assert set(said) == {version}


def expressions() -> list[str]:
    rules = [rule["expr"] for group in ALERTS["groups"] for rule in group["rules"]]
    return rules + [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]


def test_dashboard_and_alerts_ask_for_metrics_and_labels_that_exist() -> None:
    with on_a_port(create_app(Settings(), FakeRunner())) as url:
        httpx.post(f"{url}/caption", files={"image": picture()})
        text = httpx.get(f"{url}/metrics").text
    kinds = dict(re.findall(r"^# TYPE (\S+) (\S+)$", text, re.M))
    series = set(kinds)
    for name, kind in kinds.items():
        if kind == "histogram":
            series |= {f"{name}_bucket", f"{name}_sum", f"{name}_count"}
    named = {name for expr in expressions() for name in re.findall(r"captioner_\w+", expr)}
    assert named <= series
    assert len(named) >= 9


@pytest.mark.skipif(not shutil.which("promtool"), reason="no promtool (Debian: prometheus)")
def test_promtool_finds_the_rules_sound_and_each_alert_fires() -> None:
    for arguments in (("check", "config", "prometheus.yml"), ("test", "rules", "alerts_test.yml")):
        done = subprocess.run(["promtool", *arguments], cwd=DOCKER / "prometheus", capture_output=True)
        assert done.returncode == 0, done.stdout + done.stderr
