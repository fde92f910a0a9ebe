"""README and docs/TRAINING.md from a fresh clone, literally, and how long each step takes a reader.

``python -m tests.fresh_reader FLICKR8K [--weights FILE]``, or ``make fresh``. Five hundred of Flickr8k's
pictures, with their captions in a table, are what a reader would have of their own. Where there is no
internet, FILE has the weights that ``docs/TRAINING.md`` downloads: of MobileNet-EdgeTPU, as ``.safetensors``.
"""

from __future__ import annotations

import argparse
import csv
import os
import re
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from tests.page.browser import add, chromium, generate, page_at, sample
from tests.service.processes import until

ROOT = Path(__file__).parents[1]
OWN_PICTURES = 500
TUTORIAL = (ROOT / "docs" / "TRAINING.md").read_text("utf-8")


class Reader:
    """Does one step after another in one folder and notes what each took."""

    def __init__(self, folder: Path) -> None:
        self.clone = folder / "captioner"
        path = f"{self.clone / '.venv' / 'bin'}:{os.environ['PATH']}"
        unset = ("PYTHONPATH", "VIRTUAL_ENV")
        self.environment = {k: v for k, v in os.environ.items() if k not in unset} | {
            "PATH": path,
            "XDG_CACHE_HOME": str(folder / "cache"),
        }
        print("| step | seconds | what came of it |\n|---|---|---|", flush=True)

    def note(self, step: str, started: float, result: str) -> None:
        print(f"| {step} | {time.monotonic() - started:.0f} | {result} |", flush=True)

    def run(self, step: str, command: str) -> str:
        """A line of shell in the clone; its last line of output."""
        started = time.monotonic()
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", command],
            cwd=self.clone if self.clone.exists() else self.clone.parent,
            env=self.environment,
            capture_output=True,
            text=True,
        )
        if done.returncode:
            raise SystemExit(f"{command}\n{done.stdout}\n{done.stderr}")
        last = (done.stdout.strip().splitlines() or [""])[-1]
        self.note(step, started, last[:90].replace("\t", " "))
        return last

    @contextmanager
    def serving(self, step: str, command: str) -> Iterator[str]:
        """A service that is ready, and stopped as Ctrl-C does it."""
        with socket.create_server(("127.0.0.1", 0)) as probe:
            port = probe.getsockname()[1]
        started = time.monotonic()
        with tempfile.TemporaryFile() as log:
            service = subprocess.Popen(
                ["bash", "-c", f"exec {command}"],
                cwd=self.clone,
                env=self.environment | {"PORT": str(port), "CAPTIONER_PORT": str(port)},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
            url = f"http://127.0.0.1:{port}"
            until(lambda: ready(url) or service.poll() is not None, 900)
            self.note(step, started, httpx.get(f"{url}/health").json()["status"])
            yield url
            os.killpg(service.pid, signal.SIGINT)
            service.wait(60)


def ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health", timeout=5).status_code == 200
    except httpx.HTTPError:
        return False


def own_pictures(flickr8k: Path, folder: Path) -> None:
    """``my-photos`` as the tutorial wants it."""
    captions: dict[str, list[str]] = {}
    for line in (flickr8k / "Flickr8k.token.txt").read_text("utf-8").splitlines():
        key, _, text = line.partition("\t")
        captions.setdefault(key.partition("#")[0], []).append(text)
    images = next(path for path in flickr8k.iterdir() if path.is_dir())
    there = [name for name in sorted(captions) if (images / name).exists()][:OWN_PICTURES]
    folder.mkdir()
    with (folder / "captions.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(("image", "caption"))
        for number, original in enumerate(there):  # by their own names they would be taken for Flickr8k
            name = f"photo{number:03}.jpg"
            (folder / name).write_bytes((images / original).read_bytes())
            table.writerows((name, text) for text in captions[original][:3])


def on_the_page(reader: Reader, url: str) -> None:
    started = time.monotonic()
    with chromium() as browser, page_at(browser, url) as page:
        add(page, sample("surfer.jpg"))
        generate(page)
        shown = page.locator('[data-state="done"] .caption')
        shown.wait_for()
        reader.note("the page: choose a picture, press the button", started, shown.inner_text())


def train(reader: Reader, weights: Path | None) -> None:
    (config, *_) = re.findall(r"^```toml\n(.*?)^```$", TUTORIAL, re.M | re.S)
    if weights:
        config = config.replace('"IMAGENET1K_V1"', f'"{weights.resolve()}"')
        config = config.replace('encoder = "resnet18"', 'encoder = "mobilenet_edgetpu"')
    (reader.clone / "my-captions.toml").write_text(config)
    reader.run("`make training`", "make training 2>&1")
    *lines, serve = "".join(re.findall(r"^```sh\n(.*?)^```$", TUTORIAL, re.M | re.S)).splitlines()
    for line in lines:
        reader.run(f"`{line}`", line)
    with reader.serving(f"`{serve}`", serve) as url:
        picture = sorted((reader.clone / "my-photos").glob("*.jpg"))[-1]
        reader.run("curl, one of those pictures", f"curl -sSf -F image=@{picture} {url}/caption")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("flickr8k", type=Path, metavar="FLICKR8K")
    parser.add_argument("--weights", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        reader = Reader(Path(name))
        reader.run("`git clone`", f"git clone -q {ROOT} captioner")
        own_pictures(arguments.flickr8k, reader.clone / "my-photos")
        photo = sorted((reader.clone / "my-photos").glob("*.jpg"))[0]
        with reader.serving("`make serve`, until it is ready", "make serve") as url:
            reader.run("curl", f"curl -sSf -F image=@{photo} {url}/caption")
            on_the_page(reader, url)
            reader.run("the Python client", f"pip install -q ./clients/python && {client(url, photo)}")
        reader.run("`captioner caption` on 500 pictures", "captioner caption my-photos")
        train(reader, arguments.weights)


def client(url: str, photo: Path) -> str:
    """README's program."""
    (program,) = re.findall(r"^```python\n(.*?)^```$", (ROOT / "README.md").read_text("utf-8"), re.M | re.S)
    program = program.replace("http://127.0.0.1:8000", url).replace("photo.jpg", str(photo))
    return f"python - <<'END'\n{program}\nEND"


if __name__ == "__main__":
    main()
