"""``docker compose up`` as it stands; then replicas behind the load balancer, restarted and killed.

python docker/check_compose.py

Needs a Docker engine and docker compose, of whatever age. The project it starts is its own and is removed.
"""

from __future__ import annotations

import os
import subprocess
import time

from engine import ROOT, Load, caption, docker, expect, healthy, inspect, row, run, until

PROJECT = "captioner-check"
os.environ["COMPOSE_PROJECT_NAME"] = PROJECT
PORT = os.environ.get("PORT", "8000")
BALANCER_PORT = os.environ.get("BALANCER_PORT", "8080")
CLIENTS = 8


def compose(*arguments: str) -> str:
    modern = subprocess.run(["docker", "compose", "version"], capture_output=True).returncode == 0
    return run(*(["docker", "compose"] if modern else ["docker-compose"]), *arguments)


def containers(service: str) -> list[str]:
    mine = ["--filter", f"label=com.docker.compose.project={PROJECT}"]
    return docker("ps", "-q", *mine, "--filter", f"label=com.docker.compose.service={service}").split()


def check_up() -> None:
    started = time.monotonic()
    compose("up", "--detach", "--build")
    (container,) = containers("captioner")
    healthy(container)
    said = caption(f"http://127.0.0.1:{PORT}").raise_for_status().json()["caption"]
    row("docker compose up", f"healthy after {time.monotonic() - started:.0f} s: {said}")
    hardened = inspect(
        container, "{{.HostConfig.ReadonlyRootfs}} {{.HostConfig.CapDrop}} {{.HostConfig.Memory}}"
    )
    row("read-only, capabilities dropped, memory", hardened)
    compose("stop")
    code = inspect(container, "{{.State.ExitCode}}")
    row("docker compose stop", f"exit code {code}")
    expect(code == "0", "exit code 0")


def check_scale() -> None:
    compose("--profile", "scale", "up", "--detach", "--build", "balancer")
    replicas = containers("replica")
    for container in (*replicas, *containers("balancer")):
        healthy(container)
    row("replicas that are healthy", len(replicas))
    url = f"http://127.0.0.1:{BALANCER_PORT}"
    with Load(url, CLIENTS) as load:
        time.sleep(3)
        started = time.monotonic()
        run(str(ROOT / "docker/rolling_restart.sh"))
        took = time.monotonic() - started
    row(f"rolling restart under {CLIENTS} clients, {took:.0f} s", load)
    expect(load.outcomes.keys() == {"200"}, "a rolling restart loses no request")
    with Load(url, CLIENTS) as load:
        time.sleep(3)
        docker("kill", replicas[0])
        time.sleep(10)
    row(f"one replica of {len(replicas)} killed under {CLIENTS} clients", load)
    expect(load.outcomes.keys() == {"200"}, "a killed replica loses no request")
    docker("stop", *replicas[1:])
    lost = caption(url)
    expect(
        lost.status_code == 503 and "retry-after" in lost.headers, "503 with Retry-After without any replica"
    )
    docker("start", replicas[0])
    waited = until(lambda: caption(url).status_code == 200, "a caption once a replica is back")
    row("no replica at all", f"503 with Retry-After; a caption {waited:.0f} s after one was started")


def main() -> None:
    print("| | |\n|---|---|")
    try:
        check_up()
        check_scale()
    finally:
        compose("--profile", "scale", "down", "--volumes", "--timeout", "30")


if __name__ == "__main__":
    main()
