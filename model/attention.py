"""Spatial attention: before each word, a look at the parts of the picture that the LSTM asks for."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

HEADS = 8


class SpatialAttention(nn.Module):
    """Attention after the LSTM, as in Lu et al. 2017 ("Knowing When to Look", section 2.2), with the scaled
    dot products and several heads of Vaswani et al. 2017.

    What is seen joins the LSTM's output and never its state, so that teacher forcing runs the LSTM over a
    whole caption at once and then looks for all of its words at once.
    """

    def __init__(self, feature_size: int, hidden_size: int, size: int) -> None:
        """:raises ValueError: ``size`` cannot be shared out among :data:`HEADS` heads"""
        super().__init__()
        if size % HEADS:
            raise ValueError(f"attention_size {size} is not a multiple of {HEADS}")
        self.region = nn.Linear(feature_size, size)
        self.query = nn.Linear(hidden_size, size)
        self.merge = nn.Linear(hidden_size + size, hidden_size)

    def of_step(self) -> tuple[nn.Linear, nn.Linear]:
        """The layers that run for each word."""
        return self.query, self.merge

    def regions(self, features: Tensor) -> Tensor:
        """Feature map [B, C, H, W] → the picture's regions [B, HEADS, H · W, size / HEADS], keys and values
        alike."""
        regions = functional.relu(self.region(features.flatten(2).transpose(1, 2)))  # [B, H · W, size]
        return _split_heads(regions)

    def forward(self, hidden: Tensor, regions: Tensor) -> Tensor:
        """Join what was seen to what the LSTM holds.

        :param hidden: LSTM outputs [B, T, hidden_size], one look for each
        :param regions: of the same B pictures, from :meth:`regions`
        :returns: [B, T, hidden_size]
        """
        query = _split_heads(self.query(hidden))  # [B, HEADS, T, size / HEADS]
        seen = functional.scaled_dot_product_attention(query, regions, regions)  # as query
        seen = seen.transpose(1, 2).flatten(2)  # [B, T, size]
        return torch.tanh(self.merge(torch.cat([hidden, seen], dim=-1)))


def _split_heads(vectors: Tensor) -> Tensor:
    """[B, N, size] → [B, HEADS, N, size / HEADS]."""
    return vectors.unflatten(2, (HEADS, -1)).transpose(1, 2).contiguous()
