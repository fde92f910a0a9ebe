"""METEOR 1.5 (Denkowski and Lavie 2014), by the Java program that comes with pycocoevalcap.

pycocoevalcap's own driver of it is not used: when Java dies it waits for itself forever.
"""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from shutil import which
from typing import IO

import pycocoevalcap

from training.errors import TrainingError

JAR = Path(pycocoevalcap.__path__[0]) / "meteor" / "meteor-1.5.jar"
OPTIONS = ("-", "-", "-stdio", "-l", "en", "-norm")  # those of the COCO evaluation


def meteor(captions: Sequence[str], references: Sequence[Sequence[str]]) -> float:
    """METEOR of a whole split, as a fraction. Nothing is written beside the program.

    :param captions: one for each picture, its words parted by one space
    :param references: for each picture its captions by people, in the same form
    :raises TrainingError: there is no Java, or it fails
    """
    if which("java") is None:
        raise TrainingError("METEOR needs Java, which is not installed")
    # A container's locale may know ASCII alone; the captions go over the pipe in UTF-8.
    command = ["java", "-Xmx2G", "-Dfile.encoding=UTF-8", "-jar", JAR.name, *OPTIONS]
    with tempfile.TemporaryFile() as complaints:
        try:
            # the command is made of constants and goes through no shell
            with subprocess.Popen(  # nosec B603
                command, cwd=JAR.parent, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=complaints
            ) as java:
                assert java.stdin
                assert java.stdout
                try:
                    return _score(java.stdin, java.stdout, captions, references)
                finally:
                    java.kill()
        except (OSError, ValueError):
            complaints.seek(0)
            said = " ".join(complaints.read().decode(errors="replace").split())[:200]
            raise TrainingError(f"METEOR's Java program failed: {said or 'it said nothing'}") from None


def _score(
    to_java: IO[bytes], from_java: IO[bytes], captions: Sequence[str], references: Sequence[Sequence[str]]
) -> float:
    """:raises OSError, ValueError: Java is gone, or answers something else than numbers"""
    counts = [
        _ask(to_java, from_java, " ||| ".join(("SCORE", *group, caption)))
        for caption, group in zip(captions, references, strict=True)
    ]
    first = _ask(to_java, from_java, " ||| ".join(("EVAL", *counts)))
    # A score for each picture, of which the first is read already, and at the end that of the split.
    return [float(first), *(float(from_java.readline()) for _ in counts)][-1]


def _ask(to_java: IO[bytes], from_java: IO[bytes], line: str) -> str:
    to_java.write(f"{line}\n".encode())
    to_java.flush()
    return from_java.readline().decode().strip()
