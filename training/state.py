"""Where a run stands between two steps: all that is needed to go on as if it had never stopped."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import msgspec
import torch
from torch import Tensor

from training.config import Card, TrainConfig
from training.errors import TrainingError
from training.files import replace_atomically

Weights = dict[str, Tensor]


class State(msgspec.Struct):
    """``phase``, ``epoch`` and ``step`` count what is complete: epochs of the phase that is running, steps of
    the epoch that is running; ``steps`` counts those of the whole run.

    ``losses`` are those of the running epoch's steps. ``network``, ``average`` and ``optimizer`` are the
    running phase's, empty before its first save; ``best`` are the weights with its highest validation score.
    """

    phase: int = 0
    epoch: int = 0
    step: int = 0
    steps: int = 0
    losses: list[float] = []
    best_score: float = -1.0
    best: Weights = {}
    network: Weights = {}
    average: Weights = {}
    optimizer: dict[str, Any] = {}
    history: list[dict[str, Any]] = []


def save_state(path: Path, state: State, config: TrainConfig) -> None:
    """Write ``state`` and the configuration it belongs to."""
    with replace_atomically(path) as partial:
        torch.save({"config": _fingerprint(config, state), "state": msgspec.structs.asdict(state)}, partial)


def load_state(path: Path, config: TrainConfig) -> State:
    """State of an earlier run with the same configuration, or of one that has not begun.

    :raises TrainingError: the file is damaged or belongs to another configuration
    """
    if not path.exists():
        return State()
    try:
        saved = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise TrainingError(f"{path} is damaged; delete it to begin again: {error}") from None
    state = State(**saved["state"])
    if saved["config"] != _fingerprint(config, state):
        raise TrainingError(
            f"{path.parent.parent} holds a run of another configuration: choose another output folder"
        )
    return state


def _fingerprint(config: TrainConfig, state: State) -> str:
    """What the state depends on. Not in it: where the data set lies, how often the state is saved, what the
    model card says, and phases that have not begun, so that a run can be taken further than was planned."""
    begun = config.phases[: state.phase + bool(state.network)]
    data = msgspec.structs.replace(config.data, root="")
    bare = msgspec.structs.replace(
        config, phases=begun, data=data, card=Card("", "", "", ""), save_seconds=0.0
    )
    said = msgspec.to_builtins(bare)
    if not data.pictures:
        del said["data"]["pictures"]  # runs of before there was this field go on
    return msgspec.json.encode(said, order="sorted").decode()
