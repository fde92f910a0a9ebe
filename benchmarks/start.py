"""How long a start takes: of the service until it is ready, of the command line until one caption.

    python benchmarks/start.py [--starts N]

OpenVINO's graphs of a new checkpoint are made at its first start; the others find them.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

from model.config import BUNDLED

PROGRAM = str(Path(sys.executable).with_name("captioner"))
PICTURE = Path(__file__).parents[1] / "service" / "static" / "samples" / "dog.jpg"
ASK = b"GET /health/ready HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--starts", type=int, default=7)
    arguments = parser.parse_args()
    print("| | seconds |\n|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = Path(folder, "checkpoint")
        shutil.copytree(BUNDLED, checkpoint)
        config = json.loads((checkpoint / "config.json").read_text())
        (checkpoint / "config.json").write_text(json.dumps({**config, "name": "nobody has started it yet"}))
        environment = {**os.environ, "XDG_CACHE_HOME": folder}
        seconds = serve({**environment, "CAPTIONER_CHECKPOINT": str(checkpoint)})
        print(f"| captioner serve until it is ready, of a new checkpoint | {seconds:.1f} |", flush=True)
        ways: dict[str, Callable[[dict[str, str]], float]] = {
            "captioner serve until it is ready": serve,
            "captioner caption of one picture": caption,
        }
        for name, measure in ways.items():
            measure(environment)  # makes the graphs, where the installation has none
            taken = [measure(environment) for _ in range(arguments.starts)]
            print(f"| {name} | {median(taken):.1f} ({min(taken):.1f} to {max(taken):.1f}) |", flush=True)


def serve(environment: dict[str, str]) -> float:
    """Seconds from the start of the process to the first 200 of /health/ready."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    started = time.perf_counter()
    command = [PROGRAM, "serve", "--port", str(port), "--log-level", "warning"]
    service = subprocess.Popen(command, env=environment)
    try:
        while not ready(port):
            time.sleep(0.01)
        return time.perf_counter() - started
    finally:
        service.terminate()
        service.wait()


def ready(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port)) as connection:
            connection.sendall(ASK)
            return connection.recv(64).startswith(b"HTTP/1.1 200")
    except OSError:
        return False


def caption(environment: dict[str, str]) -> float:
    """Seconds of the whole command."""
    started = time.perf_counter()
    subprocess.run([PROGRAM, "caption", str(PICTURE)], env=environment, check=True, capture_output=True)
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
