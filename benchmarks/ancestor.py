"""The way of the model this one descends from, for comparison: one picture at a time, eager float32 PyTorch.

Resized and normalised in Python, twenty decoder steps however long the caption is (yunjey's image_captioning,
``sample.py``).
"""

from __future__ import annotations

import io

import numpy as np
import torch
from PIL import Image

from model.checkpoint import Checkpoint
from model.vocabulary import START_ID

STEPS = 20


class Ancestor:
    """Its way of running a checkpoint of ours."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        self.network = checkpoint.network.eval().to(memory_format=torch.contiguous_format)
        preprocessing = checkpoint.config.preprocessing
        self.size = preprocessing.image_size
        self.mean = torch.tensor(preprocessing.mean)[:, None, None]
        self.std = torch.tensor(preprocessing.std)[:, None, None]

    @torch.no_grad()
    def caption(self, data: bytes) -> list[int]:
        """The bytes of a picture → the ids of twenty words."""
        picture = Image.open(io.BytesIO(data)).convert("RGB")
        picture = picture.resize((self.size, self.size), Image.Resampling.LANCZOS)
        pixels = torch.from_numpy(np.array(picture)).permute(2, 0, 1).contiguous()  # [3, S, S]
        image = ((pixels.float() / 255 - self.mean) / self.std).unsqueeze(0)  # [1, 3, S, S]
        network = self.network
        state = network.start(network.look(network.features(network.encoder(image))))
        word, words = torch.tensor([START_ID]), []
        for _ in range(STEPS):
            logits, state = network.step(word, state)
            word = logits.argmax(dim=-1)
            words.append(int(word))
        return words
