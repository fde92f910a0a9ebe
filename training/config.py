"""A training run as a TOML file: data, encoder weights, network, and the phases it goes through."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import msgspec

from model.config import Architecture, Decoding, Preprocessing
from training.errors import TrainingError

NotNegative = Annotated[int, msgspec.Meta(ge=0)]
Positive = Annotated[int, msgspec.Meta(ge=1)]
AtLeastTwo = Annotated[int, msgspec.Meta(ge=2)]
Rate = Annotated[float, msgspec.Meta(ge=0)]
Part = Annotated[float, msgspec.Meta(ge=0, le=1)]
LessThanOne = Annotated[float, msgspec.Meta(ge=0, lt=1)]
Side = Annotated[float, msgspec.Meta(gt=0, le=1)]

SHIPPED = Path(__file__).parent / "configs"


class Data(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where the data set lies (relative to the current directory) and what it gives.

    A word enters the vocabulary when the training captions hold it ``vocabulary_threshold`` times; longer
    captions than ``max_words`` are cut. ``pictures`` of a split are used at most, the first; 0 means all.
    """

    root: str
    train: str = "train"
    validation: str = "dev"
    vocabulary_threshold: int = 4
    max_words: Positive = 20
    pictures: NotNegative = 0


class Card(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the model card says: the data set with its citation, the terms that follow from it, whose encoder
    weights they were, and what not to expect of a network trained on them."""

    data: str
    license: str
    encoder: str
    limits: str


class Phase(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A stretch of training with one objective and one learning-rate curve.

    It begins at the best weights of the phase before and hands its own best to the next, or to the
    checkpoint. The encoder's last ``encoder_stages`` stages learn too, at ``encoder_learning_rate``. What
    comes before them rests, and its output is computed once for ``views`` views of every picture (whole,
    mirrored, then random crops); with ``views`` 0, or where no stage rests, every picture goes through the
    whole encoder in every epoch, each time in a new random view.
    """

    name: str
    epochs: Positive
    learning_rate: Rate
    objective: Literal["cross_entropy", "self_critical"] = "cross_entropy"
    batch_size: AtLeastTwo = 32  # pictures; every caption of a picture is in its batch
    passes: Positive = 1  # parts of a batch that go through the network one after the other, to save memory
    views: NotNegative = 2
    # sides of a random crop, as parts of the picture's: least, most; those of cached views are the default
    crop: tuple[Side, Side] = (0.75, 1.0)
    encoder_stages: NotNegative = 0
    encoder_learning_rate: Rate = 0.0
    # cosine: down to zero over the phase; plateau: halved after each epoch that brought no better score
    schedule: Literal["cosine", "plateau", "constant"] = "cosine"
    warmup: Part = 0.05  # part of the phase in which the learning rate rises
    patience: NotNegative = 0  # the phase ends early after so many epochs without a better score; 0: never
    weight_decay: Rate = 0.01
    # AdamW's, of the gradient's mean and of its square's
    betas: tuple[LessThanOne, LessThanOne] = (0.9, 0.98)
    dropout: LessThanOne = 0.0  # of words, picture and LSTM output; self_critical has none
    label_smoothing: Part = 0.0
    scheduled_sampling: Part = 0.0  # part of the words that are the decoder's own at the end of the phase
    ema_decay: LessThanOne = 0.999  # of the averaged weights, which are the ones that are measured and kept
    samples: AtLeastTwo = 5  # captions drawn for a picture, self_critical alone


class TrainConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The whole file. ``encoder_weights`` is a ``.safetensors`` file, torchvision's name, or empty."""

    name: str
    card: Card
    data: Data
    phases: list[Phase]
    encoder_weights: str = ""
    architecture: Architecture = Architecture()
    preprocessing: Preprocessing = Preprocessing()
    decoding: Decoding = Decoding()
    seed: int = 1
    bfloat16: bool = False  # training's arithmetic where the device has it; scores are measured in float32
    save_seconds: float = 600.0  # time between two saved states of the run; one more at the end of each epoch


def load_config(name: str) -> TrainConfig:
    """Read a configuration.

    :param name: path of a TOML file, or the name of one in ``training/configs``
    :raises TrainingError: there is none, it is not TOML, or a key is unknown or of the wrong type
    """
    path = Path(name)
    if not path.is_file():
        path = SHIPPED / f"{name}.toml"
    try:
        raw = path.read_bytes()
    except OSError:
        shipped = ", ".join(sorted(p.stem for p in SHIPPED.glob("*.toml")))
        raise TrainingError(f"{name} is neither a file nor one of the configurations {shipped}") from None
    try:
        config = msgspec.toml.decode(raw, type=TrainConfig)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise TrainingError(f"the configuration {name} is not usable: {error}") from None
    if not config.phases:
        raise TrainingError(f"the configuration {name} has no phases")
    return config


def with_data(config: TrainConfig, root: Path) -> TrainConfig:
    """The same run on the data set in another folder."""
    return msgspec.structs.replace(config, data=msgspec.structs.replace(config.data, root=str(root)))
