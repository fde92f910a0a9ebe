"""The models that a device worker holds: one, and around a reload two."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from model.config import EngineName, Precision, load_card
from model.errors import CheckpointError
from service.batching import batch_sizes
from service.engine import Engine
from service.runner import ModelInfo
from service.settings import SettingsError

log = logging.getLogger("captioner.worker")


class Model(NamedTuple):
    """A loaded checkpoint, warm."""

    engine: Engine
    info: ModelInfo


def load_model(
    checkpoint: Path, device: str, engine_name: EngineName, precision: Precision, max_batch_size: int
) -> Model:
    """Load a checkpoint onto a device and run each batch size once.

    :param max_batch_size: 0 suits the device
    :raises CheckpointError: see :func:`model.checkpoint.load`
    :raises SettingsError: see :class:`service.engine.Engine`
    """
    engine = Engine(checkpoint, device, engine_name, precision)
    engine.warm_up(batch_sizes(max_batch_size or engine.default_batch_size))
    config = engine.config
    return Model(engine, ModelInfo(config, load_card(checkpoint), engine.device, config.identity))


class Models:
    """By identity; what was decoded for the one before is captioned by the one before."""

    def __init__(self, load: Callable[[], Model], keep_s: float) -> None:
        """
        :param load: loads the checkpoint folder as it is now
        :param keep_s: how long pictures that were decoded for the model before may still come
        """
        self._load = load
        self._keep_s = keep_s
        self._held: dict[str, Model] = {}
        self._offered: Model | None = None
        self._past_ends = math.inf
        self._changing = threading.Lock()
        self.present: Model | None = None

    def get(self, identity: str) -> Engine | None:
        return model.engine if (model := self._held.get(identity)) else None

    def begin(self) -> Model:
        """Load the first one; it is not present yet.

        :raises CheckpointError: see :func:`model.checkpoint.load`
        :raises SettingsError: see :class:`service.engine.Engine`
        """
        self._offered = self._load()
        return self._offered

    def load_beside(self) -> bool:
        """Load the checkpoint folder anew while the present one runs on; False if it cannot be."""
        try:
            self._offered = self._load()
        except (CheckpointError, SettingsError) as error:
            log.error("the new checkpoint cannot be used: %s", error)
        except Exception:  # no memory for both, for one
            log.exception("the checkpoint cannot be loaded beside the one that runs")
        else:
            return True
        return False

    def use(self) -> None:
        """Make what was loaded the present one."""
        with self._changing:
            if self._offered:
                self._held[self._offered.info.identity] = self._offered
                self.present, self._offered = self._offered, None
                self._past_ends = time.monotonic() + self._keep_s

    def drop(self) -> None:
        """Forget what was loaded beside."""
        self._offered = None

    def forget_past(self) -> None:
        """Let the model before go, once nothing can come for it any more."""
        with self._changing:
            if self.present and time.monotonic() > self._past_ends:
                self._held = {self.present.info.identity: self.present}
                self._past_ends = math.inf
