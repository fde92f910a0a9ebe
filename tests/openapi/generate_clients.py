"""Make clients from the running service's OpenAPI document and caption a photo with each.

``python -m tests.openapi.generate_clients [PHOTO]``, or ``make generated-clients``. It needs npm, and
installs the generators in a temporary folder, which takes too long to be among the tests.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

import httpx

from service.routes.pages import STATIC
from tests.service.processes import running

HERE = Path(__file__).parent
# openapi-typescript 7 works with the compiler's version 5
NPM_PACKAGES = ("openapi-typescript@7", "openapi-fetch@0.17", "typescript@5", "@types/node@22")


def run(folder: Path, *command: str) -> str:
    """What the command prints. :raises subprocess.CalledProcessError: it failed; its messages stand above"""
    return subprocess.run(command, cwd=folder, check=True, stdout=subprocess.PIPE, text=True).stdout


def with_python(folder: Path, url: str, photo: Path) -> str:
    """The caption a client made by openapi-python-client gets."""
    venv.create(folder / "venv", with_pip=True)
    python = str(folder / "venv" / "bin" / "python")
    run(folder, python, "-m", "pip", "install", "--quiet", "openapi-python-client", "ruff")
    generate = ("-m", "openapi_python_client", "generate", "--path", "openapi.json", "--meta", "none")
    run(folder, python, *generate, "--output-path", "captioner_client")
    shutil.copy(HERE / "with_python.py", folder)
    return run(folder, python, "with_python.py", url, str(photo))


def with_typescript(folder: Path, url: str, photo: Path) -> str:
    """The caption a program typed by openapi-typescript gets; the compiler checks it strictly first."""
    (folder / "package.json").write_text(json.dumps({"type": "module", "private": True}))
    run(folder, "npm", "install", "--silent", "--no-audit", "--no-fund", *NPM_PACKAGES)
    run(folder, "npx", "openapi-typescript", "openapi.json", "--output", "captioner.d.ts")
    shutil.copy(HERE / "with_typescript.ts", folder)
    options = ("--strict", "--target", "es2022", "--module", "nodenext", "--lib", "es2022,dom")
    run(folder, "npx", "tsc", *options, "with_typescript.ts")
    return run(folder, "node", "with_typescript.js", url, str(photo))


def main(photo: Path) -> None:
    """Make both clients and print what each read."""
    with tempfile.TemporaryDirectory() as name, running() as service:
        folder = Path(name)
        (folder / "openapi.json").write_bytes(httpx.get(f"{service.url}/openapi.json").content)
        for make in (with_python, with_typescript):
            print(f"{make.__name__}: {make(folder, service.url, photo.absolute()).strip()}")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else STATIC / "samples" / "dog.jpg")
