"""Runs batches of jobs on the model and sees to it that one bad picture or a full memory fails no other."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import torch

from model.caption import Caption
from model.captioner import Captioner
from model.config import Config
from model.errors import InferenceError
from service.batching import Job

log = logging.getLogger("captioner.engine")


class Engine:
    """A :class:`model.captioner.Captioner` that takes jobs. Lives on one thread."""

    def __init__(self, checkpoint: Path, device: str) -> None:
        """:raises CheckpointError: see :func:`model.checkpoint.load`"""
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        self.device = device
        self.pads = device.startswith("cuda")
        self.default_batch_size = 128 if self.pads else 16
        self._captioner = Captioner.load(checkpoint, device)
        self._sizes: list[int] = []

    @property
    def config(self) -> Config:
        return self._captioner.config

    def warm_up(self, sizes: list[int]) -> None:
        """Run each batch size once; from then on batches are padded to these where the device pads."""
        self._sizes = sizes
        self._captioner.warm_up(sizes)

    def run(self, jobs: list[Job]) -> list[list[Caption] | str]:
        """Captions of each job, or the sentence that says why there are none.

        Out of memory: the batch is halved. Any other failure: each picture is tried once more, alone.

        :raises torch.AcceleratorError: the device itself failed; only a new process can go on
        """
        try:
            return self._caption(jobs)
        except torch.OutOfMemoryError:
            log.warning("out of memory with a batch of %d", len(jobs))
            torch.cuda.empty_cache()
            parts = [jobs[: len(jobs) // 2], jobs[len(jobs) // 2 :]]
        except torch.AcceleratorError:
            raise
        except Exception:
            log.exception("a batch of %d failed", len(jobs))
            parts = [[job] for job in jobs]
        if len(jobs) == 1:
            return ["the model failed on this picture"]
        return [outcome for part in parts for outcome in self.run(part)]

    def _caption(self, jobs: list[Job]) -> list[list[Caption] | str]:
        size = self.config.preprocessing.image_size
        rows = next(n for n in self._sizes if n >= len(jobs)) if self.pads else len(jobs)
        pixels = np.zeros((rows, size, size, 3), dtype=np.uint8)
        for row, job in enumerate(jobs):
            pixels[row] = np.frombuffer(job.pixels, dtype=np.uint8).reshape(size, size, 3)
        beams = [job.beam for job in jobs] + [1] * (rows - len(jobs))
        results = self._captioner.caption(pixels, beams)[: len(jobs)]
        return [str(result) if isinstance(result, InferenceError) else result for result in results]
