"""Runs batches of jobs on the model and sees to it that one bad picture or a full memory fails no other."""

from __future__ import annotations

import logging
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch

from model.caption import Caption
from model.captioner import Captioner, resolve_device, resolve_engine
from model.config import Config, EngineName, Precision
from model.errors import InferenceError
from service.batching import Job
from service.settings import SettingsError

log = logging.getLogger("captioner.engine")


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
        device = resolve_device(device)
        _check_device(device)
        self.device = device
        self.pads = device.startswith("cuda")
        self.default_batch_size = 128 if self.pads else 16
        engine = resolve_engine(engine, device)
        _check_engine(engine, precision, device)
        self._captioner = Captioner.load(checkpoint, device, engine, precision)
        self.sizes: list[int] = []
        """Of batches, ascending; none before :meth:`warm_up`."""

    @property
    def config(self) -> Config:
        return self._captioner.config

    def warm_up(self, sizes: list[int]) -> None:
        """Run each batch size once; from then on batches are padded to these where the device pads.

        :raises SettingsError: the device's memory does not hold the largest
        """
        self.sizes = sizes
        try:
            self._captioner.warm_up(sizes)
        except torch.OutOfMemoryError:
            raise SettingsError(
                f"setting --max-batch-size (CAPTIONER_MAX_BATCH_SIZE) is wrong: {sizes[-1]} pictures do not "
                f"fit the memory of {self.device}"
            ) from None

    def run(
        self, jobs: list[Job], on_attempt: Callable[[], None], last: bool = False
    ) -> list[list[Caption] | str]:
        """Captions of each job, or the sentence that says why there are none.

        Out of memory: the batch is halved. Any other failure: each picture is tried once more, alone.

        :param on_attempt: called before each time that the model is run
        :param last: these were tried before
        :raises torch.AcceleratorError: the device itself failed; only a new process can go on
        """
        on_attempt()
        try:
            return self._caption(jobs)
        except torch.OutOfMemoryError:
            log.warning("out of memory with a batch of %d", len(jobs))
            torch.cuda.empty_cache()
            halves = [jobs[: len(jobs) // 2], jobs[len(jobs) // 2 :]]
            parts, last = (halves, last) if len(jobs) > 1 else ([], True)
        except torch.AcceleratorError:
            raise
        except Exception:
            log.exception("a batch of %d failed", len(jobs))
            parts, last = ([], True) if last else ([[job] for job in jobs], True)
        if not parts:
            return ["the model failed on this picture"] * len(jobs)
        return [outcome for part in parts for outcome in self.run(part, on_attempt, last)]

    def _caption(self, jobs: list[Job]) -> list[list[Caption] | str]:
        size = self.config.preprocessing.image_size
        rows = next(n for n in self.sizes if n >= len(jobs)) if self.pads else len(jobs)
        pixels = np.zeros((rows, size, size, 3), dtype=np.uint8)
        for row, job in enumerate(jobs):
            pixels[row] = np.frombuffer(job.pixels, dtype=np.uint8).reshape(size, size, 3)
        beams = [job.beam for job in jobs]
        beams += beams[-1:] * (rows - len(jobs))  # padding takes no pass of its own
        results = self._captioner.caption(pixels, beams)[: len(jobs)]
        return [str(result) if isinstance(result, InferenceError) else result for result in results]


def _check_device(device: str) -> None:
    if device == "cpu":
        return
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
    if engine == "torch" and (precision == "mixed" or (precision == "bfloat16" and device == "cpu")):
        where = "OpenVINO on a CPU" if precision == "mixed" else "OpenVINO, or a GPU"
        raise SettingsError(f"setting --precision (CAPTIONER_PRECISION) is wrong: {precision} needs {where}")
