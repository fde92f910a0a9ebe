"""A random pair of the ancestor's networks, and its files in every layout that exists of them."""

from __future__ import annotations

import os
import pickle
import struct
import sys
import types
from collections import OrderedDict
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, NamedTuple
from unittest.mock import patch

import torch
import torchvision
from torch import Tensor, nn

from model.vocabulary import END_ID, PAD_ID, SPECIALS

Weights = dict[str, Tensor]


class Pair(NamedTuple):
    """The ancestor's EncoderCNN and DecoderRNN, as parts under the names that they have there."""

    encoder: nn.ModuleDict
    decoder: nn.ModuleDict


def make_words(count: int) -> list[str]:
    """Specials, a word that is not ASCII, punctuation, and others in an order that nothing explains."""
    rest = ["café", ".", *(f"w{i * 7919 % 1009}" for i in range(count - len(SPECIALS) - 2))]
    return [*SPECIALS, *rest]


@torch.no_grad()
def make_pair(resnet: str, words: int, embed_size: int = 12, hidden_size: int = 20, layers: int = 1) -> Pair:
    """Random weights with BatchNorm statistics that training has moved, in eval mode."""
    torch.manual_seed(5)
    net = torchvision.models.get_model(resnet, weights=None)
    encoder = nn.ModuleDict(
        {
            "resnet": nn.Sequential(*list(net.children())[:-1]),
            "linear": nn.Linear(net.fc.in_features, embed_size),
            "bn": nn.BatchNorm1d(embed_size, momentum=0.01),
        }
    )
    decoder = nn.ModuleDict(
        {
            "embed": nn.Embedding(words, embed_size),
            "lstm": nn.LSTM(embed_size, hidden_size, layers, batch_first=True),
            "linear": nn.Linear(hidden_size, words),
        }
    )
    for module in encoder.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            module.momentum = 1.0
    # Plain and noisy pictures, so that the embeddings of those that the tests caption differ.
    pictures = torch.randn(8, 3, 64, 64) * torch.linspace(0, 1, 8).view(-1, 1, 1, 1) + torch.randn(8, 3, 1, 1)
    encoder["bn"](encoder["linear"](encoder["resnet"](pictures).flatten(1)))
    for parameter in (*decoder["lstm"].parameters(), *decoder["linear"].parameters()):
        parameter.mul_(4)  # a network surer of its words than a random one
    decoder["linear"].bias[PAD_ID] = -100  # never a target in training, so never predicted
    return Pair(encoder.eval(), decoder.eval())


@torch.inference_mode()
def encode(encoder: nn.ModuleDict, image: Tensor) -> Tensor:
    """Its EncoderCNN: image float [1, 3, 224, 224] → features [1, embed_size]."""
    features = encoder["resnet"](image)
    features = features.reshape(features.size(0), -1)
    return encoder["bn"](encoder["linear"](features))


@torch.inference_mode()
def sample(decoder: nn.ModuleDict, features: Tensor) -> list[int]:
    """Its sampling loop: features [1, embed_size] → the ids up to ``<end>``, which sample.py prints."""
    sampled, states = [], None
    inputs = features.unsqueeze(1)
    for _ in range(20):
        hiddens, states = decoder["lstm"](inputs, states)
        outputs = decoder["linear"](hiddens.squeeze(1))
        _, predicted = outputs.max(1)
        sampled.append(int(predicted))
        inputs = decoder["embed"](predicted).unsqueeze(1)
    return sampled[: sampled.index(END_ID) + 1] if END_ID in sampled else sampled


def train(decoder: nn.ModuleDict, features: Tensor, captions: Tensor) -> None:
    """Its training on a few captions: from [feature, <start>, w1..wn] to [<start>, w1..wn, <end>].

    :param captions: int64 [B, T], ``<start>`` and ``<end>`` among them
    """
    optimizer = torch.optim.Adam(decoder.parameters(), lr=0.02)
    for _ in range(150):
        inputs = torch.cat([features.unsqueeze(1), decoder["embed"](captions[:, :-1])], dim=1)
        outputs = decoder["linear"](decoder["lstm"](inputs)[0])
        loss = nn.functional.cross_entropy(outputs.flatten(0, 1), captions.flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def state_of(module: nn.Module, counters: bool = True) -> Weights:
    """Its state; without ``counters`` as torch older than 0.4.1 gave it."""
    state = module.state_dict()
    return OrderedDict((k, v) for k, v in state.items() if counters or "num_batches_tracked" not in k)


class _Python2Pickler(pickle._Pickler):  # type: ignore[name-defined]
    """Writes text as Python 2 wrote ``str``, and storages by reference as torch 0.3 did."""

    dispatch: ClassVar[dict] = dict(pickle._Pickler.dispatch)  # type: ignore[attr-defined]

    def save_python2_str(self, text: str) -> None:
        raw = text.encode("ascii")
        self.write(pickle.SHORT_BINSTRING + bytes([len(raw)]) + raw)
        self.memoize(text)

    dispatch[str] = save_python2_str

    def persistent_id(self, value: Any) -> Any:
        return value.reference if isinstance(value, _Storage) else None


class _Storage:
    def __init__(self, key: str, tensor: Tensor) -> None:
        self.reference = ("storage", torch.FloatStorage, key, "cuda:0", tensor.numel(), None)


class _Rebuilt:
    """Pickles as a tensor did before torch 0.4."""

    def __init__(self, key: str, tensor: Tensor) -> None:
        self.key, self.tensor = key, tensor

    def __reduce__(self) -> Any:
        size, stride = tuple(self.tensor.shape), self.tensor.stride()
        return torch._utils._rebuild_tensor, (_Storage(self.key, self.tensor), 0, size, stride)


class _OrderedDict:
    """Pickles as Python 2's OrderedDict: a list of pairs for its constructor."""

    def __init__(self, pairs: list[list[Any]]) -> None:
        self.pairs = pairs

    def __reduce__(self) -> Any:
        return OrderedDict, (self.pairs,)


def write_torch_0_3(path: Path, weights: Weights) -> None:
    """The layout of the published pair: five pickles of protocol 2 by Python 2, then the storages."""
    tensors = {str(94_000_000 + i): tensor.contiguous() for i, tensor in enumerate(weights.values())}
    state = _OrderedDict([[k, _Rebuilt(key, tensors[key])] for k, key in zip(weights, tensors, strict=True)])
    system = {
        "protocol_version": 1001,
        "little_endian": True,
        "type_sizes": {"short": 2, "int": 4, "long": 4},
    }
    with path.open("wb") as file:
        for value in (0x1950A86A20F9469CFC6C, 1001, system, state, list(tensors)):
            _Python2Pickler(file, protocol=2).dump(value)
        for tensor in tensors.values():
            file.write(struct.pack("<q", tensor.numel()) + tensor.numpy().tobytes())


def vocabulary_python2(words: Sequence[str], head: str = "") -> bytes:
    """Protocol 0 as Python 2 wrote it, which the published ``vocab.pkl`` is in."""
    lines = [
        head
        or "ccopy_reg\n_reconstructor\np0\n(c__main__\nVocabulary\np1\nc__builtin__\nobject\np2\nNtp3\nRp4"
    ]
    lines += ["(dp5", "S'idx2word'\np6", "(dp7"]
    for i, word in enumerate(words):
        lines += [f"{'s' if i else ''}I{i}", f"S{ascii_of(word)}\np{8 + i}"]
    n = 8 + len(words)
    lines += [f"ssS'word2idx'\np{n}", f"(dp{n + 1}"]
    for i in range(len(words)):
        lines += [f"{'s' if i else ''}g{8 + i}", f"I{i}"]
    lines += [f"ssS'idx'\np{n + 2}", f"I{len(words)}", "sb."]
    return "\n".join(lines).encode()


def ascii_of(word: str) -> str:
    """``repr`` of Python 2 for the word's UTF-8."""
    return repr(word.encode()).removeprefix("b")


def attributes_of(words: Sequence[str]) -> dict[str, Any]:
    return {
        "word2idx": {word: i for i, word in enumerate(words)},
        "idx2word": dict(enumerate(words)),
        "idx": len(words),
    }


def vocabulary_python3(
    attributes: dict[str, Any], module: str = "__main__", name: str = "Vocabulary", protocol: int = 3
) -> bytes:
    """As Python 3's pickle writes an object of that class."""
    vocabulary = type(name, (), {"__module__": module})
    holder = types.ModuleType(module)
    setattr(holder, name, vocabulary)
    instance = vocabulary()
    instance.__dict__.update(attributes)
    with patch.dict(sys.modules, {module: holder}):
        return pickle.dumps(instance, protocol)


WORDS = make_words(60)


class Files(NamedTuple):
    encoder: Path
    decoder: Path
    vocab: Path

    @classmethod
    def at(cls, folder: Path) -> Files:
        return cls(folder / "encoder-5-3000.pkl", folder / "decoder-5-3000.pkl", folder / "vocab.pkl")


def write_python2(pair: Pair, files: Files) -> None:
    """As the published files are."""
    write_torch_0_3(files.encoder, state_of(pair.encoder, counters=False))
    write_torch_0_3(files.decoder, state_of(pair.decoder))
    files.vocab.write_bytes(vocabulary_python2(WORDS))


def write_python3(pair: Pair, files: Files) -> None:
    """As torch 0.4.1 to 1.5 wrote it."""
    torch.save(state_of(pair.encoder), files.encoder, _use_new_zipfile_serialization=False)
    torch.save(state_of(pair.decoder), files.decoder, _use_new_zipfile_serialization=False)
    files.vocab.write_bytes(vocabulary_python3(attributes_of(WORDS), "build_vocab"))


def write_today(pair: Pair, files: Files) -> None:
    """As torch from 1.6 on writes it."""
    torch.save(state_of(pair.encoder), files.encoder)
    torch.save(state_of(pair.decoder), files.decoder)
    files.vocab.write_bytes(vocabulary_python3(attributes_of(WORDS), protocol=5))


@cache
def small_pair() -> Pair:
    return make_pair("resnet18", len(WORDS))


def make_files(folder: Path) -> Files:
    """The files of :func:`small_pair` in today's layout."""
    files = Files.at(folder)
    write_today(small_pair(), files)
    return files


class Trap:
    """Makes a file when it is unpickled."""

    def __init__(self, sprung: Path) -> None:
        self.sprung = sprung

    def __reduce__(self) -> tuple:
        return os.system, (f"touch {self.sprung}",)
