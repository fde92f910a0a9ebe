"""``config.json`` of a checkpoint: what the network is, how pictures reach it, how captions leave it."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, Literal

import msgspec

from model.errors import CheckpointError

FORMAT_VERSION = 1
WEIGHTS, CONFIG, VOCABULARY, CARD = "model.safetensors", "config.json", "vocabulary.json", "README.md"
BUNDLED = Path(__file__).parent / "bundled"
MAX_IMAGE_PIXELS = 40_000_000  # of a picture, unless whoever decodes it is told otherwise

EngineName = Literal["auto", "torch", "openvino"]
Precision = Literal["auto", "float32", "bfloat16", "int8"]


class Preprocessing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How a decoded RGB picture becomes the network's input.

    ``squash`` resizes both sides to ``image_size`` without regard to the aspect ratio (the ancestor's
    geometry); ``crop`` resizes the shorter side and takes the centre. The filters ``bilinear``, ``bicubic``
    and ``lanczos`` are Pillow's to the bit; ``catmull-rom`` is its bicubic one in a fast implementation whose
    values differ by their rounding. ``lanczos`` filters the picture as it is; for the others a large JPEG is
    decoded at a reduced size. ``mean`` and ``std`` are per RGB channel, for values scaled to 0..1.
    """

    image_size: int = 224
    resize: Literal["squash", "crop"] = "squash"
    filter: Literal["bilinear", "bicubic", "catmull-rom", "lanczos"] = "catmull-rom"
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)


class Architecture(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Sizes of the network. ``encoder`` is a torchvision ResNet's name or ``mobilenet_edgetpu``;
    ``attention_size`` 0 means no spatial attention: the picture is its pooled features alone."""

    encoder: str = "resnet152"
    embed_size: int = 256
    hidden_size: int = 512
    num_layers: int = 1
    attention_size: int = 0


class Decoding(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Words in a caption at most; length of word sequences that never repeat in it (0: any may).

    ``predicts_start``: the picture alone must bring forth ``<start>``, as everything after it, and any token
    may come at any step: the ancestor's loop. It takes ``max_length`` + 2 steps, and a caption that has not
    ended by then stands as it is.
    """

    max_length: int = 20
    no_repeat_ngram: int = 3
    predicts_start: bool = False


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole of ``config.json``.

    ``files`` maps each other file of the checkpoint to its SHA-256; ``card`` holds what people ask of a
    model (data, licence, scores) and is never needed to run it. ``activation_ranges`` says of the encoder's
    convolutions, by their names in the network, between which values what goes into each lies; empty unless
    they were measured (:mod:`model.calibration`), and needed for int8 alone.
    """

    name: str
    vocabulary_size: int
    architecture: Architecture = Architecture()
    preprocessing: Preprocessing = Preprocessing()
    decoding: Decoding = Decoding()
    files: dict[str, str] = {}
    card: dict[str, Any] = {}
    activation_ranges: dict[str, tuple[float, float]] = {}
    format_version: int = FORMAT_VERSION

    @property
    def revision(self) -> str:
        """Twelve hexadecimal digits that change whenever the weights do."""
        return self.files.get(WEIGHTS, "unsaved")[:12]

    @property
    def identity(self) -> str:
        """Sixty-four hexadecimal digits that change whenever anything does that a caption depends on."""
        return hashlib.sha256(msgspec.json.encode(self)).hexdigest()


def load_config(folder: Path) -> Config:
    """Read ``config.json`` alone.

    :raises CheckpointError: it is missing, not JSON, of another format version, or a field is wrong
    """
    raw = read_file(folder, CONFIG)
    try:
        version = msgspec.json.decode(raw, type=dict).get("format_version")
        if version != FORMAT_VERSION:
            raise CheckpointError(
                f"{CONFIG} has format version {version!r}; this program reads version {FORMAT_VERSION}"
            )
        return msgspec.json.decode(raw, type=Config)
    except msgspec.DecodeError as error:
        raise CheckpointError(f"{CONFIG} is not usable: {error}") from None


def load_card(folder: Path) -> str:
    """Text of the model card, empty where the checkpoint has none."""
    path = folder / CARD
    return path.read_text("utf-8", errors="replace") if path.is_file() else ""


def read_file(folder: Path, name: str) -> bytes:
    """One file of a checkpoint folder.

    :raises CheckpointError: it is missing or cannot be read
    """
    try:
        return (folder / name).read_bytes()
    except FileNotFoundError:
        raise CheckpointError(f"{name} is missing from the checkpoint folder {folder}") from None
    except OSError as error:
        raise CheckpointError(f"{name} cannot be read: {error.strerror}") from None
