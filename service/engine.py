"""Runs batches of jobs on the model and sees to it that one bad picture or a full memory fails no other."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import numpy as np

from model.caption import Caption
from model.captioner import Captioner, needed_for, resolve_device, resolve_engine
from model.config import Config, EngineName, Precision
from model.errors import InferenceError
from service.batching import Job
from service.settings import SettingsError

log = logging.getLogger("captioner.engine")

Outcome = list[Caption] | str
"""Captions of one picture, best first, or the sentence that says why there are none."""


class Batch(NamedTuple):
    """What is on the device: since when, in seconds of :func:`time.monotonic`, and what waits for its end."""

    jobs: list[Job]
    started: float
    outcomes: Callable[[], list[Outcome]]


class Engine:
    """A :class:`model.captioner.Captioner` that takes jobs. Lives on one thread."""

    def __init__(
        self,
        checkpoint: Path,
        device: str,
        engine: EngineName = "auto",
        precision: Precision = "auto",
    ) -> None:
        """
        :raises CheckpointError: see :func:`model.checkpoint.load`
        :raises SettingsError: there is no such device, or OpenVINO is wanted where it cannot be had
        """
        device = resolve_device(device, precision)
        _check_device(device)
        self.device = device
        engine = resolve_engine(engine, device)
        _check_engine(engine, precision, device)
        self._captioner = Captioner.load(checkpoint, device, engine, precision)
        self.sizes: list[int] = []
        """Of batches, ascending; none before :meth:`warm_up`."""

    @property
    def overlaps(self) -> bool:
        """Whether the next batch may be begun before this one has ended; see :meth:`begin`."""
        return self._captioner.overlaps

    @property
    def in_parts(self) -> bool:
        """See :class:`model.captioner.Network`."""
        return self._captioner.in_parts

    @property
    def default_batch_size(self) -> int:
        return self._captioner.batch_size

    @property
    def config(self) -> Config:
        return self._captioner.config

    def warm_up(self, sizes: list[int]) -> None:
        """Run each batch size once; the last is the largest from then on.

        :raises SettingsError: the device's memory does not hold the largest
        """
        self.sizes = sizes
        try:
            self._captioner.warm_up(sizes)
        except Exception as error:
            if not _is_torchs(error, "OutOfMemoryError"):
                raise
            raise SettingsError(
                f"setting --max-batch-size (CAPTIONER_MAX_BATCH_SIZE) is wrong: {sizes[-1]} pictures do not "
                f"fit the memory of {self.device}"
            ) from None

    def run(self, jobs: list[Job], on_attempt: Callable[[], None]) -> list[Outcome]:
        """Captions of each job, or the sentence that says why there are none.

        Out of memory: the batch is halved. Any other failure: each picture is tried once more, alone.

        :param on_attempt: called before each time that the model is run
        :raises torch.AcceleratorError: the device itself failed; only a new process can go on
        """
        return self.begin(jobs, on_attempt)()

    def begin(
        self, jobs: list[Job], on_attempt: Callable[[], None], last: bool = False
    ) -> Callable[[], list[Outcome]]:
        """Start a batch: :meth:`run` in two parts, of which the second waits for what comes of it.

        :param last: these were tried before
        """
        on_attempt()
        size = self.config.preprocessing.image_size
        pixels = [np.frombuffer(job.pixels, dtype=np.uint8).reshape(size, size, 3) for job in jobs]
        try:
            wait = self._captioner.begin(pixels, [job.beam for job in jobs])
        except Exception as error:
            return partial(self._recover, jobs, on_attempt, last, error)

        def outcomes() -> list[Outcome]:
            try:
                return [str(result) if isinstance(result, InferenceError) else result for result in wait()]
            except Exception as error:
                return self._recover(jobs, on_attempt, last, error)

        return outcomes

    def _recover(
        self, jobs: list[Job], on_attempt: Callable[[], None], last: bool, error: Exception
    ) -> list[Outcome]:
        if _is_torchs(error, "OutOfMemoryError"):
            log.warning("out of memory with a batch of %d", len(jobs))
            sys.modules["torch"].cuda.empty_cache()
            halves = [jobs[: len(jobs) // 2], jobs[len(jobs) // 2 :]]
            parts, last = (halves, last) if len(jobs) > 1 else ([], True)
        elif _is_torchs(error, "AcceleratorError"):
            raise error
        else:
            log.error("a batch of %d failed", len(jobs), exc_info=error)
            parts, last = ([], True) if last else ([[job] for job in jobs], True)
        if not parts:
            return ["the model failed on this picture"] * len(jobs)
        return [outcome for part in parts for outcome in self.begin(part, on_attempt, last)()]


def _is_torchs(error: Exception, name: str) -> bool:
    """Whether it is PyTorch's exception of that name, which need not have been imported."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(error, getattr(torch, name))


def _check_device(device: str) -> None:
    if device == "cpu":
        return
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if int(device.partition(":")[2] or 0) >= count:
        found = f"{count} CUDA device{'s' * (count != 1)} found"
        raise SettingsError(f"setting --device (CAPTIONER_DEVICE) is wrong: no {device} here, {found}")


def _check_engine(engine: EngineName, precision: Precision, device: str) -> None:
    wrong = "setting --engine (CAPTIONER_ENGINE) is wrong: "
    if engine == "openvino" and device != "cpu":
        raise SettingsError(f"{wrong}openvino runs on the CPU, not on {device}")
    if engine == "openvino" and not find_spec("openvino"):
        raise SettingsError(f"{wrong}OpenVINO is not installed: pip install 'captioner[openvino]'")
    if needed := needed_for(precision, engine, device):
        raise SettingsError(f"setting --precision (CAPTIONER_PRECISION) is wrong: {precision} needs {needed}")
