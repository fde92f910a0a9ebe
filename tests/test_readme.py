"""README says what is so."""

from __future__ import annotations

import re
from pathlib import Path

from model.config import BUNDLED, load_config
from service.settings import PREFIX, Settings

README = (Path(__file__).parent.parent / "README.md").read_text("utf-8")


def test_the_settings_table_is_that_of_the_settings_object() -> None:
    for name, field in Settings.model_fields.items():
        default = field.default
        if isinstance(default, tuple):
            default = ",".join(default)
        if default == BUNDLED:
            default = "bundled"
        flag = f"--{name.replace('_', '-')}"
        assert f"| `{PREFIX}{name.upper()}` | `{flag}` | {default} | {field.description} |" in README


def test_the_score_is_that_of_the_bundled_checkpoint() -> None:
    greedy = load_config(BUNDLED).card["scores"]["dev, greedy"]["CIDEr-D"]
    (said,) = re.findall(r"CIDEr-D \*\*([0-9.]+)\*\*", README)
    assert said == f"{greedy:.3f}"


def test_every_linked_file_is_there() -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (Path(__file__).parent.parent / target).exists(), target
