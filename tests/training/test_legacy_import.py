from __future__ import annotations

import hashlib
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from PIL import Image
from torchvision.transforms import functional

from cli.main import app
from model import checkpoint as checkpoints
from model.captioner import Captioner
from model.config import load_card, load_config
from model.decoding import beam_search, greedy
from model.network import Seen
from model.preprocessing import load_pixels
from model.vocabulary import END_ID, PAD_ID, START_ID, UNK_ID
from tests.pictures import picture
from tests.training.legacy_files import (
    WORDS,
    Files,
    Pair,
    encode,
    make_files,
    make_pair,
    sample,
    small_pair,
    state_of,
    train,
    write_python2,
    write_python3,
    write_today,
)
from training.legacy import card
from training.legacy.errors import LegacyError
from training.legacy.importer import import_legacy


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    """Hundreds of small tensors: threads cost more than they bring, many times more on a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def _no_traces(tmp_path: Path) -> Iterator[None]:
    """pytest would keep the gigabytes of three runs."""
    yield
    shutil.rmtree(tmp_path)


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return make_files(tmp_path)


def make_pictures(folder: Path, count: int) -> list[Path]:
    """Pictures small and large; the large JPEGs are of the size that is otherwise decoded reduced."""
    sizes = ((320, 240), (2000, 1400), (224, 224), (90, 400))
    paths = [folder / f"{i}.{'png' if i % 3 == 2 else 'jpg'}" for i in range(count)]
    for i, path in enumerate(paths):
        path.write_bytes(picture(i, sizes[i % 4], "PNG" if path.suffix == ".png" else "JPEG"))
    return paths


def squashed_by_ancestor(path: Path) -> Image.Image:
    return Image.open(path).convert("RGB").resize((224, 224), Image.Resampling.LANCZOS)


def printed_by_ancestor(pair: Pair, path: Path) -> list[str]:
    """Words that its sample.py prints for a file, but for ``<start>`` and ``<end>``."""
    tensor = functional.to_tensor(squashed_by_ancestor(path))
    tensor = functional.normalize(tensor, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    ids = sample(pair.decoder, encode(pair.encoder, tensor.unsqueeze(0)))
    return [WORDS[i] for i in ids if i not in (START_ID, END_ID)]


@pytest.mark.parametrize(
    ("resnet", "layers", "pictures", "write", "tensors"),
    [
        ("resnet18", 1, 10, write_python2, 106),
        ("resnet18", 2, 10, write_python3, 127),
        ("resnet152", 1, 10, write_python2, 781),  # the published pair's layout; some 15 s of one core
        ("resnet152", 1, 0, write_today, 937),
    ],
)
def test_captions_are_the_ancestors_token_for_token(
    tmp_path: Path,
    resnet: str,
    layers: int,
    pictures: int,
    write: Callable[[Pair, Files], None],
    tensors: int,
) -> None:
    pair = make_pair(resnet, len(WORDS), layers=layers)
    files = Files.at(tmp_path)
    write(pair, files)
    assert len(torch.load(files.encoder, map_location="cpu")) == tensors
    config = import_legacy(*files, tmp_path / "imported")
    assert config.architecture.encoder == resnet
    assert config.architecture.num_layers == layers
    if not pictures:
        return
    captioner = Captioner.load(tmp_path / "imported")
    paths = make_pictures(tmp_path, pictures)
    pixels = np.stack([load_pixels(path, captioner.config.preprocessing) for path in paths])
    assert np.array_equal(pixels, [np.asarray(squashed_by_ancestor(path)) for path in paths])
    expected = [printed_by_ancestor(pair, path) for path in paths]
    captions = captioner.caption(pixels, [1] * len(paths))
    assert [[w.text for w in c[0].words] for c in captions if isinstance(c, list)] == expected
    assert len({tuple(words) for words in expected}) > 1, "the pictures are told apart"


def test_every_weight_arrives_unrounded(files: Files, tmp_path: Path) -> None:
    pair = small_pair()
    import_legacy(*files, tmp_path / "imported")
    written = safetensors.torch.load_file(tmp_path / "imported" / "model.safetensors")
    assert len(written) == len(pair.encoder.state_dict()) + len(pair.decoder.state_dict())
    for ours, legacy in (("encoder.resnet.1.running_var", "resnet.1.running_var"), ("norm.bias", "bn.bias")):
        assert torch.equal(written[ours], pair.encoder.state_dict()[legacy])
    assert written["encoder.resnet.1.num_batches_tracked"] == 1
    assert torch.equal(written["output.weight"], pair.decoder.state_dict()["linear.weight"])
    assert all(t.dtype in (torch.float32, torch.int64) for t in written.values())


def test_a_trained_decoder_says_start_itself(files: Files, tmp_path: Path) -> None:
    decoder = make_pair("resnet18", len(WORDS)).decoder
    features = torch.randn(4, 12, generator=torch.Generator().manual_seed(0))
    longest = torch.tensor([*range(4, 21), UNK_ID])  # 18 words, one of them unknown
    captions = torch.stack([torch.tensor([START_ID, *longest.roll(i), END_ID]) for i in range(4)])
    train(decoder, features, captions)
    printed = [sample(decoder, row.unsqueeze(0)) for row in features]
    assert printed == captions.tolist()
    torch.save(state_of(decoder), files.decoder)
    import_legacy(*files, tmp_path / "imported")
    loaded = checkpoints.load(tmp_path / "imported")
    decoded = greedy(loaded.network, Seen(features, None), loaded.config.decoding)
    assert decoded.tokens[:, 0].tolist() == [[PAD_ID, *row[1:]] for row in printed]


def test_beam_search_goes_through_start_too(files: Files, tmp_path: Path) -> None:
    import_legacy(*files, tmp_path / "imported")
    loaded = checkpoints.load(tmp_path / "imported")
    embedding = torch.randn(6, 12, generator=torch.Generator().manual_seed(0))
    one, three = (
        beam_search(loaded.network, Seen(embedding, None), loaded.config.decoding, k) for k in (1, 3)
    )
    assert one.tokens.shape[-1] <= 20
    assert not (three.tokens == START_ID).any()
    totals = three.log_probs.sum(-1)
    assert (totals.diff(dim=1) <= 1e-5).all(), "best first"
    assert totals[:, 0].sum() >= one.log_probs.sum(-1).sum()


def test_the_card_says_where_it_comes_from(
    files: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashes = card.Files(*(hashlib.sha256(path.read_bytes()).hexdigest() for path in files))
    import_legacy(*files, tmp_path / "own")
    monkeypatch.setattr(card, "PUBLISHED", hashes)
    import_legacy(*files, tmp_path / "published")
    for folder, says in (("own", "no: "), ("published", "yes: ")):
        facts, text = load_config(tmp_path / folder).card, load_card(tmp_path / folder)
        assert facts["published"].startswith(says)
        assert facts["scores"] == "unknown"
        assert "imported from files of yunjey/pytorch-tutorial" in text
        for digest in hashes:
            assert digest in facts["sha256"].values()
            assert digest in text


def test_an_output_folder_that_cannot_be(files: Files, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(LegacyError, match="file cannot be written: "):
        import_legacy(*files, tmp_path / "file")


def run(*arguments: object) -> None:
    sys.argv = ["captioner", "import-legacy", *map(str, arguments)]
    app()


def test_command(
    files: Files, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", [])
    given = ("--encoder", files.encoder, "--decoder", files.decoder, "--vocab")
    with pytest.raises(SystemExit) as ended:
        run(*given, files.vocab, "--output", tmp_path / "imported")
    assert ended.value.code == 0
    assert "resnet18, 60 words\npublished files: no" in capsys.readouterr().out
    with pytest.raises(SystemExit) as ended:
        run(*given, tmp_path / "none", "--output", tmp_path / "other")
    assert ended.value.code == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err == f"captioner: {tmp_path}/none cannot be read: No such file or directory\n"
