"""What can go wrong before and during training, as one sentence for the person who started it."""

from __future__ import annotations

from model.errors import CaptionerError


class TrainingError(CaptionerError):
    """The data set, the configuration or the earlier run in the output folder cannot be used."""

    title = "Training cannot go on"
    code = "training"
