"""Show and Tell (Vinyals et al. 2015): a CNN sees the picture, an LSTM says it word by word."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn

from model.attention import SpatialAttention
from model.config import Config
from model.encoder import build_encoder
from model.int8_weights import round_rows


class Seen(NamedTuple):
    """What the decoder knows of a batch of pictures.

    ``embedding`` [B, embed_size] is the LSTM's first input; ``regions`` [B, heads, L, size / heads] is what
    spatial attention looks at, None in a network without.
    """

    embedding: Tensor
    regions: Tensor | None

    def rows(self, rows: Tensor | list[int]) -> Seen:
        """Of the pictures at these positions; a picture may be wanted more than once."""
        return Seen(self.embedding[rows], None if self.regions is None else self.regions[rows])

    def repeat(self, times: int) -> Seen:
        """Each picture ``times`` times in a row."""
        return self.rows(
            torch.arange(len(self.embedding), device=self.embedding.device).repeat_interleave(times)
        )


class State(NamedTuple):
    """Where the decoder stands in a batch of captions: LSTM state ``h`` and ``c``, each
    [num_layers, B, hidden_size], and the regions of each caption's picture."""

    h: Tensor
    c: Tensor
    regions: Tensor | None

    def rows(self, rows: Tensor) -> State:
        """Of the captions at these positions, or where this mask is true."""
        regions = None if self.regions is None else self.regions[rows]
        return State(self.h[:, rows], self.c[:, rows], regions)


class Decoder(Protocol):
    """What a search needs of a network: see :class:`CaptionNetwork` for each."""

    def start(self, seen: Seen) -> State: ...

    def first(self, state: State) -> Tensor: ...

    def step(self, tokens: Tensor, state: State) -> tuple[Tensor, State]: ...


class CaptionNetwork(nn.Module):
    """Encoder → linear + BatchNorm → LSTM → words, with spatial attention between LSTM and words where the
    architecture has it.

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
        self.attention = (
            SpatialAttention(self.encoder.feature_size, a.hidden_size, a.attention_size)
            if a.attention_size
            else None
        )
        self.dropout = nn.Dropout(0.0)  # training sets its probability
        self.output = nn.Linear(a.hidden_size, config.vocabulary_size)
        # Not in the checkpoint's weights: they belong to its preprocessing.
        self.register_buffer("mean", torch.tensor(config.preprocessing.mean) * 255, persistent=False)
        self.register_buffer("std", torch.tensor(config.preprocessing.std) * 255, persistent=False)

    def normalise(self, pixels: Tensor) -> Tensor:
        """uint8 pixels [B, S, S, 3] → float images [B, 3, S, S], laid out channels-last."""
        images = (pixels.to(self.mean.dtype) - self.mean) / self.std  # [B, S, S, 3]
        return images.permute(0, 3, 1, 2)  # [B, 3, S, S]: NHWC memory already

    def features(self, feature_map: Tensor) -> Tensor:
        """What the decoder needs of the encoder's map [B, C, S/32, S/32]: all of it for attention, otherwise
        its mean [B, C, 1, 1]."""
        return feature_map if self.attention else feature_map.mean(dim=(2, 3), keepdim=True)

    def look(self, features: Tensor) -> Seen:
        """Features [B, C, H, W] → what the decoder knows of the pictures."""
        pooled = features.mean(dim=(2, 3))  # [B, C]
        regions = self.attention.regions(self.dropout(features)) if self.attention else None
        return Seen(self.norm(self.project(pooled)), regions)

    def encode(self, pixels: Tensor) -> Seen:
        """uint8 pixels [B, S, S, 3] → what the decoder knows of the pictures."""
        return self.look(self.features(self.encoder(self.normalise(pixels))))

    def unroll(self, seen: Seen, tokens: Tensor) -> Tensor:
        """Teacher forcing: what the decoder holds after each of ``tokens``, for ``output`` to make words of.

        :param seen: of B pictures
        :param tokens: int64 [B, T], beginning with ``<start>``
        :returns: [B, T, hidden_size]
        """
        words = self.embed(tokens)  # [B, T, embed_size]
        inputs = torch.cat([seen.embedding.unsqueeze(1), words], dim=1)  # [B, 1 + T, embed_size]
        hidden, _ = self.lstm(self.dropout(inputs))  # [B, 1 + T, hidden_size]
        return self.dropout(self._attend(hidden[:, 1:], seen.regions))

    def forward(self, seen: Seen, tokens: Tensor) -> Tensor:
        """Logits of the word after each of ``tokens``: as :meth:`unroll`, but [B, T, vocabulary_size]."""
        return self.output(self.unroll(seen, tokens))

    def start(self, seen: Seen) -> State:
        """The decoder's state after it has seen the pictures."""
        _, (h, c) = self.lstm(seen.embedding.unsqueeze(1))
        return State(h, c, seen.regions)

    def first(self, state: State) -> Tensor:
        """Logits [B, vocabulary_size] of what the picture alone brings forth, before any word."""
        return self.output(self._attend(state.h[-1].unsqueeze(1), state.regions)[:, 0])

    def step(self, tokens: Tensor, state: State) -> tuple[Tensor, State]:
        """One word further: tokens int64 [B] → logits [B, vocabulary_size] and the next state."""
        hidden, (h, c) = self.lstm(self.embed(tokens).unsqueeze(1), (state.h, state.c))  # [B, 1, hidden_size]
        return self.output(self._attend(hidden, state.regions)[:, 0]), State(h, c, state.regions)

    @torch.no_grad()
    def round_step(self) -> None:
        """Round the matrices that each step reads with :func:`model.int8_weights.round_rows`, in place."""
        for of_input, of_state, *_ in self.lstm.all_weights:
            both = round_rows(torch.cat([of_input, of_state], dim=1))  # [4 · hidden_size, in + hidden_size]
            of_input.copy_(both[:, : of_input.shape[1]])
            of_state.copy_(both[:, of_input.shape[1] :])
        for linear in [self.output, *(self.attention.of_step() if self.attention else ())]:
            linear.weight.copy_(round_rows(linear.weight))

    def _attend(self, hidden: Tensor, regions: Tensor | None) -> Tensor:
        """LSTM outputs [B, T, hidden_size], with what attention sees for each of them."""
        return self.attention(hidden, regions) if self.attention else hidden
