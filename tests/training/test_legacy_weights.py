"""What an import refuses, and that nothing in the files is run."""

from __future__ import annotations

import pickle
import shutil
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
import torchvision

from tests.training.legacy_files import Files, Trap, Weights, make_files, small_pair, state_of
from training.legacy.errors import LegacyError
from training.legacy.importer import import_legacy
from training.legacy.weights import read_architecture


@pytest.fixture(autouse=True)
def _no_traces(tmp_path: Path) -> Iterator[None]:
    """pytest would keep the gigabytes of three runs."""
    yield
    shutil.rmtree(tmp_path)


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return make_files(tmp_path)


def refused(files: Files, message: str) -> None:
    output = files.encoder.parent / "output"
    with pytest.raises(LegacyError, match=message) as caught:
        import_legacy(*files, output)
    assert str(caught.value).isprintable()
    assert not output.exists()


def save_changed(path: Path, change: Callable[[Weights], object]) -> None:
    weights = torch.load(path)
    change(weights)
    torch.save(weights, path)


def test_each_resnet_is_told_by_its_shapes() -> None:
    for name in ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152"):
        with torch.device("meta"):
            encoder = torchvision.models.get_model(name, weights=None)
        names = dict(torch.nn.Sequential(*list(encoder.children())[:-1]).state_dict(prefix="resnet."))
        names["linear.weight"] = torch.zeros(12, encoder.fc.in_features)
        assert read_architecture(names, state_of(small_pair().decoder))[0].encoder == name


@pytest.mark.parametrize("new", [True, False])
def test_a_command_is_refused_and_never_run(files: Files, tmp_path: Path, new: bool) -> None:
    weights = {"lstm.weight_hh_l0": torch.zeros(2), "trap": Trap(tmp_path / "sprung")}
    torch.save(weights, files.decoder, _use_new_zipfile_serialization=new)
    refused(files, r"decoder-5-3000\.pkl asks for posix\.system, and only tensors are read; nothing was run")
    files.decoder.write_bytes(pickle.dumps(weights["trap"]))
    refused(files, r"decoder-5-3000\.pkl asks for posix\.system|is damaged")
    assert not (tmp_path / "sprung").exists()
    torch.save(weights, files.decoder, _use_new_zipfile_serialization=new)
    torch.load(files.decoder, weights_only=False)
    assert (tmp_path / "sprung").exists(), "the trap works"


def test_a_whole_module_is_refused(files: Files) -> None:
    torch.save(small_pair().decoder, files.decoder)
    refused(
        files, r"decoder-5-3000\.pkl asks for torch\.nn\.modules\.container\.ModuleDict, and only tensors"
    )


@pytest.mark.parametrize("new", [True, False])
@pytest.mark.parametrize("keep", [0.0, 0.01, 0.5, 0.99])
def test_cut_off(files: Files, new: bool, keep: float) -> None:
    torch.save(state_of(small_pair().decoder), files.decoder, _use_new_zipfile_serialization=new)
    raw = files.decoder.read_bytes()
    files.decoder.write_bytes(raw[: int(keep * len(raw))])
    refused(
        files, r"decoder-5-3000\.pkl (is damaged, cut off or no file of PyTorch weights|asks for torch\.)"
    )


def test_what_a_dead_link_gives(files: Files) -> None:
    files.decoder.write_bytes(b"<!DOCTYPE html>\n<title>404 Not Found</title>")
    refused(files, r'no file of PyTorch weights: 44 bytes that begin with "<!DOCTYPE html>\\n<title>4?"')
    files.decoder.write_bytes(b"")
    refused(files, "no file of PyTorch weights: it is empty")


def test_files_given_in_each_others_place(files: Files) -> None:
    swapped = Files(files.decoder, files.encoder, files.vocab)
    refused(swapped, r"decoder-5-3000\.pkl was given as the encoder and holds the decoder")
    refused(
        Files(files.encoder, files.encoder, files.vocab), "was given as the decoder and holds the encoder"
    )
    refused(Files(files.encoder, files.vocab, files.vocab), r"vocab\.pkl (asks for|is damaged)")
    refused(Files(files.encoder, files.decoder, files.decoder), r"decoder-5-3000\.pkl (holds|is damaged)")
    refused(Files(files.encoder, files.decoder.parent, files.vocab), "cannot be read: Is a directory")
    refused(Files(files.encoder, files.decoder.parent / "none", files.vocab), "cannot be read: No such file")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([torch.zeros(3)], "holds list where tensors by name"),
        ({"state_dict": {}}, "holds state_dict, which is not a plain tensor"),
        ({"lstm.x": torch.zeros(3, device="meta")}, r"holds lstm\.x, which is not a plain tensor"),
        ({"features.0.weight": torch.zeros(3)}, r"no name begins with lstm\. \(features\.0\.weight\)"),
        ({"lstm.x": torch.zeros(1).expand(10**9, 10**6)}, "declares tensors of 4,000,000,000,000,000 bytes"),
    ],
)
def test_other_contents(files: Files, value: object, message: str) -> None:
    torch.save(value, files.decoder)
    refused(files, message)


def test_a_compressed_archive(files: Files) -> None:
    raw = files.decoder.read_bytes()
    with (
        zipfile.ZipFile(files.decoder.parent / "stored.zip", "w") as stored,
        zipfile.ZipFile(files.decoder, "w", zipfile.ZIP_DEFLATED) as packed,
    ):
        stored.writestr("archive/data.pkl", raw)
        packed.writestr("archive/data.pkl", bytes(10**7))
    refused(files, "is compressed")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda w: w.pop("linear.bias"), r"the decoder lacks linear\.bias"),
        (lambda w: w.pop("embed.weight"), r"the decoder lacks embed\.weight"),
        (lambda w: w.__setitem__("att.weight", torch.zeros(3)), r"the decoder holds an unknown att\.weight"),
        (
            lambda w: w.__setitem__("linear.bias", torch.zeros(61)),
            r"linear\.bias has shape \[61\] of torch\.",
        ),
        (
            lambda w: w.__setitem__("linear.bias", torch.zeros(60).half()),
            r"of torch\.float16, expected \[60\]",
        ),
        (lambda w: w["linear.bias"].fill_(float("nan")), r"linear\.bias holds values that are not finite"),
        (lambda w: w.__setitem__("embed.weight", torch.zeros(60)), r"has shape \[60\], expected a matrix"),
        (lambda w: w.__setitem__("embed.weight", torch.zeros(60, 16)), "gives 12 numbers .* takes 16"),
        (lambda w: w.__setitem__("embed.weight", torch.zeros(61, 12)), "knows 61 words and .* has 60: they"),
    ],
)
def test_decoders_that_do_not_fit(files: Files, change: Callable[[Weights], object], message: str) -> None:
    save_changed(files.decoder, change)
    refused(files, message)


def test_encoders_that_do_not_fit(files: Files) -> None:
    save_changed(files.encoder, lambda w: w.pop("resnet.1.running_mean"))
    refused(files, r"the encoder lacks resnet\.1\.running_mean")
    save_changed(files.encoder, lambda w: [w.pop(name) for name in list(w) if name.startswith("resnet.7.1.")])
    refused(files, "the encoder's layers have 2, 2, 2, 1 blocks, which is none of resnet18, resnet34")
