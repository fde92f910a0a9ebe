"""That EdgeTPU's weights arrive where they should is shown in tests/model/test_encoder.py."""

from __future__ import annotations

from http.client import IncompleteRead
from pathlib import Path
from urllib.error import URLError

import pytest
import safetensors.torch
import torch
import torchvision

from model.encoder import build_encoder
from training.errors import TrainingError
from training.pretrained import load_pretrained


def test_torchvisions_resnet_gives_its_own_features(tmp_path: Path) -> None:
    resnet = torchvision.models.resnet18(weights=None).eval()
    safetensors.torch.save_file(resnet.state_dict(), tmp_path / "resnet18.safetensors")
    encoder = build_encoder("resnet18").eval()
    load_pretrained(encoder, "resnet18", str(tmp_path / "resnet18.safetensors"))
    images = torch.rand(2, 3, 64, 64)
    with torch.inference_mode():
        pooled = encoder(images).mean(dim=(2, 3))
        torch.testing.assert_close(resnet.fc(pooled), resnet(images))


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_edgetpu"])
def test_weights_of_another_network(name: str, tmp_path: Path) -> None:
    other = tmp_path / "other.safetensors"
    safetensors.torch.save_file({"Conv.weight": torch.zeros(3)}, other)
    with pytest.raises(TrainingError, match=f"does not hold the weights of {name}"):
        load_pretrained(build_encoder(name), name, str(other))


def test_missing_and_damaged_files(tmp_path: Path) -> None:
    encoder = build_encoder("resnet18")
    with pytest.raises(TrainingError, match="are missing"):
        load_pretrained(encoder, "resnet18", str(tmp_path / "none.safetensors"))
    (tmp_path / "damaged.safetensors").write_bytes(b"\x80\x02}q\x00.")
    with pytest.raises(TrainingError, match="cannot be read"):
        load_pretrained(encoder, "resnet18", str(tmp_path / "damaged.safetensors"))


@pytest.mark.parametrize(
    "error",
    [
        URLError("Name or service not known"),
        IncompleteRead(b""),
        RuntimeError('invalid hash value (expected "f37072fd", got "e3b0c442")'),
    ],
)
def test_torchvisions_weights_that_cannot_be_had(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", fail)
    with pytest.raises(TrainingError, match="the weights IMAGENET1K_V1 of resnet18 cannot be downloaded: "):
        load_pretrained(build_encoder("resnet18"), "resnet18", "IMAGENET1K_V1")


def test_unknown_names() -> None:
    with pytest.raises(TrainingError, match="no weights 'IMAGENET22K' for resnet18"):
        load_pretrained(build_encoder("resnet18"), "resnet18", "IMAGENET22K")
    with pytest.raises(TrainingError, match=r"must be a \.safetensors file"):
        load_pretrained(build_encoder("mobilenet_edgetpu"), "mobilenet_edgetpu", "IMAGENET1K_V1")
