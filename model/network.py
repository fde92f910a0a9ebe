"""Show and Tell (Vinyals et al. 2015): a CNN sees the picture, an LSTM says it word by word."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from model.config import Config
from model.encoder import build_encoder

State = tuple[Tensor, Tensor]
"""LSTM state (h, c), each [num_layers, B, hidden_size]."""


class CaptionNetwork(nn.Module):
    """Encoder → linear + BatchNorm → LSTM → words.

    The picture's embedding is the LSTM's first input, ``<start>`` its second; from there on each input is
    the word before and each output the logits of the next.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, config: Config) -> None:
        super().__init__()
        a = config.architecture
        self.encoder = build_encoder(a.encoder)
        self.project = nn.Linear(self.encoder.feature_size, a.embed_size)
        self.norm = nn.BatchNorm1d(a.embed_size, momentum=0.01)
        self.embed = nn.Embedding(config.vocabulary_size, a.embed_size)
        self.lstm = nn.LSTM(a.embed_size, a.hidden_size, a.num_layers, batch_first=True)
        self.dropout = nn.Dropout(0.0)  # training sets its probability
        self.output = nn.Linear(a.hidden_size, config.vocabulary_size)
        # Not in the checkpoint's weights: they belong to its preprocessing.
        self.register_buffer("mean", torch.tensor(config.preprocessing.mean) * 255, persistent=False)
        self.register_buffer("std", torch.tensor(config.preprocessing.std) * 255, persistent=False)

    def normalise(self, pixels: Tensor) -> Tensor:
        """uint8 pixels [B, S, S, 3] → float images [B, 3, S, S], laid out channels-last."""
        images = (pixels.to(self.mean.dtype) - self.mean) / self.std  # [B, S, S, 3]
        return images.permute(0, 3, 1, 2)  # [B, 3, S, S]: NHWC memory already

    def features(self, images: Tensor) -> Tensor:
        """Images [B, 3, S, S] → pooled encoder features [B, C]."""
        return self.encoder(images).mean(dim=(2, 3))  # [B, C, S/32, S/32] → [B, C]

    def embed_features(self, features: Tensor) -> Tensor:
        """Pooled features [B, C] → the picture's embedding [B, embed_size], the LSTM's first input."""
        return self.norm(self.project(features))

    def encode(self, pixels: Tensor) -> Tensor:
        """uint8 pixels [B, S, S, 3] → the picture's embedding [B, embed_size]."""
        return self.embed_features(self.features(self.normalise(pixels)))

    def unroll(self, embedding: Tensor, tokens: Tensor) -> Tensor:
        """Teacher forcing: what the LSTM holds after each of ``tokens``, for ``output`` to make words of.

        :param embedding: [B, embed_size]
        :param tokens: int64 [B, T], beginning with ``<start>``
        :returns: [B, T, hidden_size]
        """
        words = self.embed(tokens)  # [B, T, embed_size]
        inputs = torch.cat([embedding.unsqueeze(1), words], dim=1)  # [B, 1 + T, embed_size]
        hidden, _ = self.lstm(self.dropout(inputs))  # [B, 1 + T, hidden_size]
        return self.dropout(hidden[:, 1:])

    def forward(self, embedding: Tensor, tokens: Tensor) -> Tensor:
        """Logits of the word after each of ``tokens``: as :meth:`unroll`, but [B, T, vocabulary_size]."""
        return self.output(self.unroll(embedding, tokens))

    def start(self, embedding: Tensor) -> State:
        """LSTM state after it has seen the picture: embedding [B, embed_size] → state."""
        _, state = self.lstm(embedding.unsqueeze(1))
        return state

    def step(self, tokens: Tensor, state: State) -> tuple[Tensor, State]:
        """One word further: tokens int64 [B] → logits [B, vocabulary_size] and the next state."""
        hidden, state = self.lstm(self.embed(tokens).unsqueeze(1), state)  # [B, 1, hidden_size]
        return self.output(hidden[:, 0]), state
