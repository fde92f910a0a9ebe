"""The service and bulk captioning on a Ray cluster of three nodes on this machine, one of which is killed.

python benchmarks/ray_nodes.py FOLDER [--seconds S]

The head takes requests; two nodes have a model each. Under load the raylet of one of these is killed with
SIGKILL, and a node comes in its place. Then a folder is captioned: the program is killed with SIGKILL in the
middle and started again, and a node is killed under it.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import yaml
from ray.cluster_utils import Cluster

CLIENTS = 16
CONFIG = Path(__file__).parents[1] / "docker" / "ray" / "serve.yaml"
PORT = 8642
URL = f"http://127.0.0.1:{PORT}"


def program(name: str) -> str:
    return str(Path(sys.executable).with_name(name))


def configuration(folder: Path) -> Path:
    """The one that ships, with a model on each of two nodes."""
    config = yaml.safe_load(CONFIG.read_text())
    config["http_options"] = {"host": "127.0.0.1", "port": PORT}
    config["proxy_location"] = (
        "HeadOnly"  # nodes of one machine would share the port, and one of them is killed
    )
    front_end, model = config["applications"][0]["deployments"]
    front_end["ray_actor_options"] = {"num_cpus": 0.5, "resources": {"head": 0.01}}
    model["autoscaling_config"] |= {"min_replicas": 2, "max_replicas": 2}
    model["ray_actor_options"] = {"num_cpus": 0.5, "resources": {"model": 1}}
    file = folder / "serve.yaml"
    file.write_text(yaml.safe_dump(config))
    return file


def client(pictures: list[bytes], first: int, end: float) -> list[tuple[float, int, float]]:
    """Send pictures one after another until ``end``: when each was answered, with what, after what time."""
    answers = []
    number = first
    with httpx.Client(timeout=60) as http:
        while time.monotonic() < end:
            started = time.monotonic()
            status = http.post(
                f"{URL}/caption", files={"image": pictures[number % len(pictures)]}
            ).status_code
            answers.append((time.monotonic(), status, time.monotonic() - started))
            number += 1
    return answers


def serve(cluster: Cluster, pictures: list[bytes], seconds: float, folder: Path) -> None:
    nodes = [cluster.add_node(num_cpus=1, resources={"model": 1}) for _ in range(2)]
    environment = {**os.environ, "RAY_ADDRESS": cluster.address}
    log = (folder / "serve.log").open("w")
    served = subprocess.Popen(
        [program("serve"), "run", str(configuration(folder))], env=environment, stdout=log, stderr=log
    )
    try:
        wait_until_ready(served, folder / "serve.log")
        end = time.monotonic() + seconds
        with ThreadPoolExecutor(CLIENTS) as threads:
            each = threads.map(lambda first: client(pictures, first, end), range(CLIENTS))
            time.sleep(seconds / 3)
            killed = time.monotonic()
            cluster.remove_node(nodes[0], allow_graceful=False)
            time.sleep(seconds / 6)
            cluster.add_node(num_cpus=1, resources={"model": 1})
            answers = [answer for answers in each for answer in answers]
    finally:
        served.send_signal(signal.SIGINT)  # takes the application off the cluster
        served.wait(60)
    statuses = Counter(status for _, status, _ in answers)
    around = max(taken for when, _, taken in answers if when > killed)
    print(f"\n| answers of {CLIENTS} clients in {seconds:.0f} s | slowest after the kill |\n|---|---|")
    print(
        f"| {', '.join(f'{n} × {status}' for status, n in statuses.items())} | {around:.1f} s |", flush=True
    )


def wait_until_ready(served: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + 180
    while True:
        try:
            if httpx.get(f"{URL}/health", timeout=5).status_code == 200:
                return
        except httpx.HTTPError:
            pass
        if served.poll() is not None or time.monotonic() > end:
            raise SystemExit(f"the service did not start:\n{log.read_text()[-3000:]}")
        time.sleep(0.2)


def bulk(cluster: Cluster, photos: Path, folder: Path) -> None:
    output = folder / "captions"
    command = [program("captioner"), "caption", str(photos), "--engine", "ray", "--output", str(output)]
    environment = {**os.environ, "RAY_ADDRESS": cluster.address}

    def parts() -> list[Path]:
        return list(output.glob("part-*"))

    first = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
    while first.poll() is None and not parts():
        time.sleep(0.05)
    first.kill()
    first.wait()
    time.sleep(5)  # what was under way in the cluster when the program died ends with it
    before = {part.name for part in parts()}
    doomed = cluster.add_node(num_cpus=1)
    second = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
    while second.poll() is None and len(parts()) == len(before):
        time.sleep(0.05)
    cluster.remove_node(doomed, allow_graceful=False)
    code = second.wait()
    paths = Counter(json.loads(line)["path"] for part in parts() for line in part.read_text().splitlines())
    there = sum(1 for path in photos.rglob("*") if path.is_file())
    print(
        "\n| files | part files before the program was killed | after | captioned once | more often | exit |"
    )
    print("|---|---|---|---|---|---|")
    once = sum(count == 1 for count in paths.values())
    print(f"| {there} | {len(before)} | {len(parts())} | {once} | {len(paths) - once} | {code} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("photos", type=Path, metavar="FOLDER")
    parser.add_argument("--seconds", type=float, default=60)
    arguments = parser.parse_args()
    files = sorted(arguments.photos.rglob("*.jpg"))[:32]
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "resources": {"head": 1}})
    try:
        with tempfile.TemporaryDirectory() as folder:
            pictures = [path.read_bytes() for path in files]
            serve(cluster, pictures, arguments.seconds, Path(folder))
            bulk(cluster, arguments.photos, Path(folder))
    finally:
        cluster.shutdown()


if __name__ == "__main__":
    main()
