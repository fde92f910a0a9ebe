"""The same checkpoint behind our service and behind what people would use instead, in one run.

python benchmarks/peers/run.py PHOTOS [--seconds S] [--rounds N] [--servers NAME ...]

Makes the peers' environment (.venv-peers) the first time. Every server has the same network (OpenVINO where
that is there), the same decoding and the same threads; only serving differs. Servers take turns, each round
from another one on, and the medians of the rounds are shown: a machine that is slow for some minutes is slow
for all of them. Capacity is what the model alone captions in a second, measured anew before each round.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import time
import venv
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import psutil

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
PEERS = ROOT / ".venv-peers"
PYTHON = str(PEERS / "bin" / "python")
CLIENTS = (1, 8, 64, 256)
SHARES = (0.5, 0.8, 1.2, 3.0)  # of capacity, open loop
THREADS = str(os.cpu_count())
PATIENCE_S = 120
REST_S = 10


class Server(NamedTuple):
    """How to start it (with its port in place of ``PORT``), and how it is asked."""

    command: list[str]
    path: str
    field: str | None


SERVERS = {
    "captioner": Server(
        [
            str(Path(sys.executable).with_name("captioner")),
            "serve",
            "--port",
            "PORT",
            "--log-level",
            "warning",
        ],
        "/caption",
        "image",
    ),
    "mosec": Server([PYTHON, "mosec_server.py", "--port", "PORT", "--timeout", "10000"], "/inference", None),
    "LitServe": Server([PYTHON, "litserve_server.py", "PORT"], "/predict", "image"),
    "BentoML": Server(
        [str(PEERS / "bin" / "bentoml"), "serve", "bentoml_server:CaptionService", "-p", "PORT"],
        "/caption",
        "images",
    ),
    "Ray Serve": Server([PYTHON, "ray_server.py", "PORT"], "/", None),
    "FastAPI": Server([PYTHON, "fastapi_server.py", "PORT"], "/caption", "image"),
}


class Load(NamedTuple):
    """One load on one server."""

    rate: float
    p50_ms: float
    p99_ms: float
    failed: float
    outcomes: Counter[str]
    wrong: int


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--seconds", type=float, default=5, help="of each load in each round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--servers", nargs="+", choices=SERVERS, default=list(SERVERS))
    arguments = parser.parse_args()
    make_environment()
    names, seconds = arguments.servers, arguments.seconds
    rows: dict[tuple[str, str], list[Load]] = {}
    memory: dict[tuple[str, str], list[float]] = {}
    for turn in range(arguments.rounds):
        alone = model_alone(arguments.photos, seconds)
        print(
            f"model alone: {alone['rate']:.1f} captions/s; one picture {1000 * alone['single_p50']:.0f} ms, "
            f"{1000 * alone['single_p99']:.0f} ms",
            flush=True,
        )
        loads = [(f"{n} clients", ["--closed", str(n)]) for n in CLIENTS]
        loads += [(f"{share:.0%} of capacity", ["--open", str(share * alone["rate"])]) for share in SHARES]
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            with running(SERVERS[name], arguments.photos) as (port, process):
                drive(SERVERS[name], port, arguments.photos, 3, ["--closed", "32"])
                for load, flags in loads:
                    answers = drive(SERVERS[name], port, arguments.photos, seconds, flags)
                    rows.setdefault((load, name), []).append(judge(answers, alone["captions"]))
                memory.setdefault(("at the end", name), []).append(megabytes(process))
                time.sleep(REST_S)
                memory.setdefault((f"{REST_S} s later", name), []).append(megabytes(process))
    for load, _ in loads:
        show(load, {name: median(rows[load, name]) for name in names})
    print(f"\nMemory, MB:\n\n| | {' | '.join(names)} |\n|{'---|' * (1 + len(names))}")
    for when in dict.fromkeys(when for when, _ in memory):
        print(f"| {when} | {' | '.join(f'{max(memory[when, name]):.0f}' for name in names)} |")


def make_environment() -> None:
    """Packages of its own, and behind them ours: PyTorch is not installed twice."""
    stamp = PEERS / ".installed"
    lock = HERE / "requirements.txt"
    if stamp.exists() and stamp.stat().st_mtime >= lock.stat().st_mtime:
        return
    shutil.rmtree(PEERS, ignore_errors=True)
    venv.create(PEERS, with_pip=True)
    subprocess.run([PYTHON, "-m", "pip", "install", "--quiet", "--no-deps", "-r", lock], check=True)
    (site,) = (PEERS / "lib").glob("python*/site-packages")
    (site / "ours.pth").write_text(f"{ROOT}\n{sysconfig.get_path('purelib')}\n")
    stamp.touch()


def environment() -> dict[str, str]:
    quiet = {"BENTOML_DO_NOT_TRACK": "1", "RAY_USAGE_STATS_ENABLED": "0", "RAY_DEDUP_LOGS": "0"}
    return {**os.environ, **quiet, "OMP_NUM_THREADS": THREADS}


def model_alone(photos: Path, seconds: float) -> dict:
    command = [PYTHON, str(HERE / "servers" / "model_alone.py"), str(photos), str(seconds)]
    return json.loads(subprocess.run(command, env=environment(), check=True, stdout=subprocess.PIPE).stdout)


@contextmanager
def running(server: Server, photos: Path) -> Iterator[tuple[int, psutil.Process]]:
    """The server on a free port, once it captions; ended with all its processes."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    command = [str(port) if word == "PORT" else word for word in server.command]
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(
            command,
            cwd=HERE / "servers",
            env=environment(),
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
        try:
            wait_until_captioning(server, port, photos, process)
            yield port, psutil.Process(process.pid)
        except BaseException:
            output.seek(0)
            sys.stderr.write(output.read()[-4000:].decode(errors="replace"))
            raise
        finally:
            end(process)


def wait_until_captioning(server: Server, port: int, photos: Path, process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + PATIENCE_S
    while drive(server, port, photos, 0.01, ["--closed", "1"])["answers"][0][2] != "200":
        if process.poll() is not None or time.monotonic() > until:
            raise SystemExit(f"{server.command} does not caption")
        time.sleep(0.5)


def end(process: subprocess.Popen[bytes]) -> None:
    children = tree(psutil.Process(process.pid)) if process.poll() is None else []
    process.send_signal(signal.SIGINT)
    with suppress(subprocess.TimeoutExpired):
        process.wait(20)
    for child in children:
        with suppress(psutil.NoSuchProcess):
            child.kill()
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def megabytes(process: psutil.Process) -> float:
    """What its processes have; what several of them share counts once."""
    return sum(each.memory_full_info().pss for each in tree(process)) / 2**20


def tree(process: psutil.Process) -> list[psutil.Process]:
    return [process, *process.children(recursive=True)]


def drive(server: Server, port: int, photos: Path, seconds: float, flags: list[str]) -> dict:
    command = [
        sys.executable,
        str(HERE / "driver.py"),
        str(photos),
        "--port",
        str(port),
        "--path",
        server.path,
    ]
    command += ["--field", server.field] if server.field else []
    run = subprocess.run(
        [*command, "--seconds", str(seconds), *flags], check=True, stdout=subprocess.PIPE, text=True
    )
    return json.loads(run.stdout)


def judge(result: dict, known: dict[str, list[str]]) -> Load:
    answers = result["answers"]
    good = sorted(seconds for _, seconds, outcome, _ in answers if outcome == "200")
    p50, p99 = (1000 * good[int(q * len(good))] if good else float("nan") for q in (0.5, 0.99))
    wrong = sum(caption not in known[name] for name, _, outcome, caption in answers if outcome == "200")
    outcomes = Counter(outcome for _, _, outcome, _ in answers)
    failed = 1 - len(good) / len(answers)
    return Load(len(good) / result["elapsed"], p50, p99, failed, outcomes, wrong)


def median(rounds: list[Load]) -> Load:
    """Of all rounds; what was answered is added up."""
    numbers = (statistics.median(each[field] for each in rounds) for field in range(4))
    outcomes = sum((each.outcomes for each in rounds), Counter())
    return Load(*numbers, outcomes, sum(each.wrong for each in rounds))


def show(load: str, servers: dict[str, Load]) -> None:
    print(f"\n{load}:\n")
    print("| server | captions/s | p50 ms | p99 ms | not captioned | answers | wrong captions |")
    print("|---|---|---|---|---|---|---|")
    for name, seen in servers.items():
        answers = ", ".join(f"{count} × {outcome}" for outcome, count in seen.outcomes.most_common())
        print(
            f"| {name} | {seen.rate:.1f} | {seen.p50_ms:.0f} | {seen.p99_ms:.0f} | {seen.failed:.0%} "
            f"| {answers} | {seen.wrong} |"
        )


if __name__ == "__main__":
    main()
