from __future__ import annotations

from pathlib import Path

import pytest

from training.config import SHIPPED, load_config
from training.errors import TrainingError


@pytest.mark.parametrize("name", sorted(path.stem for path in SHIPPED.glob("*.toml")))
def test_shipped_configurations_load_by_name_and_by_path(name: str) -> None:
    assert load_config(name) == load_config(str(SHIPPED / f"{name}.toml"))


def change(tmp_path: Path, old: str, new: str) -> str:
    text = (SHIPPED / "tiny.toml").read_text()
    assert old in text
    (tmp_path / "changed.toml").write_text(text.replace(old, new, 1))
    return str(tmp_path / "changed.toml")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("epochs = 2", "epoch = 2", "unknown field `epoch`"),
        ("epochs = 2", 'epochs = "two"', "Expected `int`"),
        ("epochs = 2", "epochs = 0", "`int` >= 1"),
        ("batch_size = 8", "batch_size = 1", "`int` >= 2"),
        ("epochs = 2", "epochs = 2\ndropout = 1.5", "`float` < 1"),
        ("epochs = 2", "epochs = 2\ncrop = [0, 1]", "`float` > 0"),
        ("learning_rate = 1e-2", "learning_rate = -1e-2", "`float` >= 0"),
        ('"self_critical"', '"luck"', "luck"),
        ('name = "tiny"', "name = ", "is not usable"),
        ('name = "tiny"', 'name = "tiny"\nsed = 1', "unknown field `sed`"),
    ],
)
def test_a_wrong_key_is_named(old: str, new: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=message) as caught:
        load_config(change(tmp_path, old, new))
    assert "\n" not in str(caught.value)


def test_no_such_configuration() -> None:
    with pytest.raises(TrainingError, match=r"nowhere is neither a file nor one of .*flickr8k, .*tiny"):
        load_config("nowhere")


def test_a_file_that_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "one.toml").write_bytes(b'name = "caf\xe9"\n')
    with pytest.raises(TrainingError, match=r"one\.toml is not usable: "):
        load_config(str(tmp_path / "one.toml"))


def test_no_phases(tmp_path: Path) -> None:
    text = (SHIPPED / "tiny.toml").read_text().split("[[phases]]")[0]
    (tmp_path / "none.toml").write_text("phases = []\n" + text)
    with pytest.raises(TrainingError, match="has no phases"):
        load_config(str(tmp_path / "none.toml"))
