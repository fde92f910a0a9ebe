"""Builds the image for CPUs and holds a hardened container to what docs/CONTAINERS.md says of it.

python docker/check_image.py

Needs a Docker engine, and takes minutes, most of them for the first build.
"""

from __future__ import annotations

import io
import re
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import numpy as np
from engine import ROOT, Load, caption, docker, expect, healthy, inspect, row, run, until
from PIL import Image

IMAGE = "captioner:cpu"
NAME = "captioner-check"
LARGEST = 1.5e9  # bytes
MEMORY = "4g"  # as docker-compose.yml has it
TIGHT = "1536m"  # less than two pictures of 40 megapixels take while they are decoded
HARDENED = (
    "--read-only", "--tmpfs=/tmp:size=512m,mode=1777,noexec,nosuid,nodev", "--cap-drop=ALL",
    "--security-opt=no-new-privileges:true", "--pids-limit=512",
    "--stop-timeout=30", "--publish=127.0.0.1::8000",
)  # fmt: skip
FIND_CUDA = """
import pathlib, re
files = pathlib.Path("/").rglob("*.so*")
print([str(file) for file in files if re.match(r"lib(torch_|c10_)?(cu|nv|nccl)", file.name)])
"""
READ_MEMORY = """
import pathlib, re
new, old = pathlib.Path("/sys/fs/cgroup"), pathlib.Path("/sys/fs/cgroup/memory")  # control groups 2 and 1
if (new / "memory.peak").exists():
    events, peak = new / "memory.events", new / "memory.peak"
else:
    events, peak = old / "memory.oom_control", old / "memory.max_usage_in_bytes"
print(int(peak.read_text()) >> 20, re.search("^oom_kill ([0-9]+)", events.read_text(), re.M)[1])
"""


def in_container(code: str) -> str:
    return docker("exec", NAME, "python", "-c", code)


def start(*options: str, memory: str = MEMORY) -> tuple[str, float]:
    """Start the hardened container; gives its URL, and the seconds until it was healthy."""
    limits = (f"--memory={memory}", f"--memory-swap={memory}")
    docker("run", "--detach", f"--name={NAME}", *HARDENED, *limits, *options, IMAGE)
    took = healthy(NAME)
    return f"http://{docker('port', NAME, '8000').splitlines()[0]}", took


def remove() -> None:
    docker("rm", "--force", "--volumes", NAME)


def check_build() -> None:
    started = time.monotonic()
    run("docker", "build", "-f", "docker/Dockerfile", "--target", "cpu", "-t", IMAGE, ".", quiet=False)
    row("build", f"{time.monotonic() - started:.0f} s (seconds where the engine has the layers)")
    size = int(inspect(IMAGE, "{{.Size}}"))
    row("size of the image", f"{size / 1e9:.2f} GB")
    expect(size < LARGEST, "the image is smaller than 1.5 GB")
    for label in ("title", "version", "licenses"):
        expect(
            inspect(IMAGE, f'{{{{index .Config.Labels "org.opencontainers.image.{label}"}}}}') != "", label
        )


def check_confinement() -> None:
    expect(in_container(FIND_CUDA) == "[]", f"no CUDA library: {in_container(FIND_CUDA)}")
    row("CUDA libraries in it", 0)
    status = in_container("print(open('/proc/1/status').read())")
    fields = dict(re.findall(r"^(\w+):\s+(\S+)", status, re.M))
    row(
        "user, capabilities, no new privileges",
        f"{fields['Uid']}, {fields['CapEff']}, {fields['NoNewPrivs']}",
    )
    expect((fields["Uid"], int(fields["CapBnd"], 16), fields["NoNewPrivs"]) == ("10001", 0, "1"), "confined")
    tried = "import pathlib\nfor p in ('/x', '/opt/venv/x', '/var/tmp/x'):\n"
    tried += " try: pathlib.Path(p).touch(); print(p)\n except OSError: pass"
    expect(in_container(tried) == "", "nothing outside /tmp can be written")
    row("files that can be made outside /tmp", 0)


def large_picture(seed: int) -> bytes:
    """A PNG of 40 megapixels with an alpha channel, in a few hundred kilobytes: 160 MB when decoded."""
    tile = np.random.default_rng(seed).integers(0, 256, (50, 80, 4), dtype=np.uint8)
    out = io.BytesIO()
    Image.fromarray(np.tile(tile, (100, 100, 1))).save(out, "PNG")
    return out.getvalue()


def check_hostile(url: str, memory: str) -> None:
    """Large pictures, 64 at a time: whatever becomes of them, the container goes on and captions."""
    pictures = [large_picture(seed) for seed in range(4)]

    def send(number: int) -> str:
        try:
            return str(caption(url, pictures[number % 4]).status_code)
        except httpx.TransportError as error:
            return type(error).__name__

    with ThreadPoolExecutor(64) as threads:
        outcomes = list(threads.map(send, range(256)))
    counts = ", ".join(f"{outcomes.count(kind)} × {kind}" for kind in sorted(set(outcomes)))
    row(f"{memory}: 256 pictures of 40 megapixels ({len(pictures[0]) / 1e6:.1f} MB), 64 at once", counts)
    waited = until(lambda: answers(url), "a caption after the large pictures", 60)
    peak, killed = in_container(READ_MEMORY).split()
    row("", f"at most {peak} MiB, {killed} processes killed; a caption {waited:.1f} s after")
    expect(inspect(NAME, "{{.RestartCount}} {{.State.Running}}") == "0 true", "the container goes on")


def answers(url: str) -> bool:
    try:
        return caption(url).status_code == 200
    except httpx.TransportError:
        return False


def check_stop(url: str) -> None:
    """SIGTERM while 16 clients send without pause."""
    with Load(url, 16) as load:
        time.sleep(5)
        load.stopped = time.monotonic()
        docker("stop", NAME)
        took = time.monotonic() - load.stopped
    code = inspect(NAME, "{{.State.ExitCode}}")
    row("SIGTERM under load", f"exit code {code} after {took:.1f} s; {load}")
    expect(code == "0", "exit code 0")
    expect(load.outcomes.keys() <= {"200", "503", "not accepted"}, "whatever was accepted is answered")


def main() -> None:
    print("| | |\n|---|---|")
    check_build()
    try:
        url, took = start()
        row("bundled checkpoint: healthy", f"after {took:.1f} s")
        bundled = caption(url).raise_for_status().json()
        row("caption over the published port", bundled["caption"])
        check_confinement()
        check_hostile(url, MEMORY)
        check_stop(url)
        remove()
        url, _ = start(memory=TIGHT)
        check_hostile(url, TIGHT)
        remove()
        url, took = start(
            f"--volume={ROOT}/model/bundled:/checkpoint:ro", "--env=CAPTIONER_CHECKPOINT=/checkpoint"
        )
        mounted = caption(url).raise_for_status().json()
        expect(mounted["caption"] == bundled["caption"], "the same caption")
        expect(httpx.get(f"{url}/health").json()["status"] == "ok", "ready")
        row("mounted checkpoint: healthy", f"after {took:.1f} s, the same caption")
    finally:
        remove()


if __name__ == "__main__":
    main()
