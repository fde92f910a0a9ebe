"""METEOR is Java's: the first test needs one, the others put something else in its place."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from training.errors import TrainingError
from training.meteor import JAR, meteor

JAVA = shutil.which("java")
CAPTIONS = ["a dog runs", "a rider", "birds in the café"]
REFERENCES = [["a dog runs", "the dog is running"], ["a man on a horse"], ["two birds fly"]]
PYCOCOEVALCAP = 0.245765572819091  # pycocoevalcap.meteor.meteor.Meteor().compute_score of these


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program named ``java``, the only one that is found."""
    program = tmp_path / "bin" / "java"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent))
    monkeypatch.setattr("training.meteor.which", shutil.which)
    return program


@pytest.mark.skipif(JAVA is None, reason="METEOR needs Java, which is not here")
def test_the_same_as_the_coco_evaluation_and_nothing_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("training.meteor.which", shutil.which)
    files = sorted(JAR.parent.parent.rglob("*"))
    assert meteor(CAPTIONS, REFERENCES) == pytest.approx(PYCOCOEVALCAP, abs=1e-12)
    assert sorted(JAR.parent.parent.rglob("*")) == files


def test_without_java() -> None:
    with pytest.raises(TrainingError, match="METEOR needs Java, which is not installed"):
        meteor(CAPTIONS, REFERENCES)


@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    ("script", "why"),
    [
        ("echo Error occurred during initialization of VM >&2; echo No space >&2; exit 1", "VM No space"),
        ("exit 1", "it said nothing"),
        ("read line; echo 1.0 2.0; exit 1", "it said nothing"),
        ("while read line; do echo hello; done", "it said nothing"),
    ],
)
def test_a_java_that_fails(script: str, why: str, stand_in: Path) -> None:
    stand_in.write_text(f"#!/bin/sh\n{script}\n")
    with pytest.raises(TrainingError, match=f"METEOR's Java program failed: .*{why}"):
        meteor(CAPTIONS, REFERENCES)


def test_a_java_that_cannot_be_started(stand_in: Path) -> None:
    stand_in.write_text("#!/no/such/shell\n")
    with pytest.raises(TrainingError, match="METEOR's Java program failed"):
        meteor(CAPTIONS, REFERENCES)
