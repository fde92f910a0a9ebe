"""The decoder's step as OpenVINO runs it fastest, and a search's step around it, for tracing."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from model.attention import SpatialAttention
from model.caption import MAX_BEAM
from model.config import Decoding
from model.decoding import ruled_out, without_repeats
from model.network import CaptionNetwork
from model.vocabulary import END_ID, PAD_ID


class Start(nn.Module):
    """:meth:`CaptionNetwork.start` with plain tensors in and out.

    The LSTM's state is zero before it: the weights of the state and of the forget gate are not read.
    """

    def __init__(self, network: CaptionNetwork) -> None:
        super().__init__()
        self.layers = nn.ModuleList()
        for index in range(network.lstm.num_layers):
            of_input, _, bias = _layer(network.lstm, index)
            enter, _, new, leave = zip(of_input.chunk(4), bias.chunk(4), strict=True)
            weights, biases = zip(enter, new, leave, strict=True)
            self.layers.append(_linear(torch.cat(weights), torch.cat(biases)))

    def forward(self, embedding: Tensor) -> tuple[Tensor, Tensor]:
        """[B, embed_size] → h and c, [L, B, hidden_size] each."""
        hidden, cell = [embedding], []
        for layer in self.layers:
            enter, new, leave = layer(hidden[-1]).chunk(3, dim=1)  # [B, hidden_size] each
            cell.append(torch.sigmoid(enter) * torch.tanh(new))
            hidden.append(torch.sigmoid(leave) * torch.tanh(cell[-1]))
        return torch.stack(hidden[1:]), torch.stack(cell)


class Step(nn.Module):
    """:meth:`CaptionNetwork.step` with plain tensors in and out; one matrix product for all gates of a layer.

    What a word brings to the first layer's gates is looked up: as much memory as there are words, times
    ``4 · hidden_size``, for a quarter of the weights that each step would read.
    """

    def __init__(self, network: CaptionNetwork) -> None:
        super().__init__()
        self.attention = network.attention
        self.output = network.output
        lstm = network.lstm
        of_input, of_state, bias = _layer(lstm, 0)
        self.words = nn.Embedding.from_pretrained(functional.linear(network.embed.weight, of_input, bias))
        self.layers = nn.ModuleList([_linear(of_state)])
        for index in range(1, lstm.num_layers):
            of_input, of_state, bias = _layer(lstm, index)
            self.layers.append(_linear(torch.cat([of_input, of_state], dim=1), bias))

    def forward(
        self, tokens: Tensor, h: Tensor, c: Tensor, regions: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        hidden: list[Tensor] = []  # [B, hidden_size] of each layer, as cell
        cell: list[Tensor] = []
        for index, layer in enumerate(self.layers):
            gates = (
                layer(torch.cat([hidden[-1], h[index]], dim=1)) if index else layer(h[0]) + self.words(tokens)
            )
            enter, forget, new, leave = gates.chunk(4, dim=1)
            cell.append(torch.sigmoid(forget) * c[index] + torch.sigmoid(enter) * torch.tanh(new))
            hidden.append(torch.sigmoid(leave) * torch.tanh(cell[-1]))
        said = hidden[-1] if self.attention is None else _look(self.attention, hidden[-1], regions)
        return self.output(said), torch.stack(hidden), torch.stack(cell)


class SearchStep(nn.Module):
    """What one word further means in any search, whatever its position."""

    def __init__(self, network: CaptionNetwork, limits: Decoding) -> None:
        super().__init__()
        self.step = Step(network)
        self.repeat = limits.no_repeat_ngram
        self.ruled_out: Tensor
        self.register_buffer("ruled_out", ruled_out(limits, network.output.out_features))  # [T, V]

    def next_scores(
        self, position: Tensor, word: Tensor, h: Tensor, c: Tensor, said: Tensor, regions: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Log-probabilities [B, V], -inf of what may not come next, and the next state."""
        logits, h, c = self.step(word, h, c, regions)
        scores = logits.log_softmax(dim=-1) + self.ruled_out[position]
        if self.repeat:
            scores = without_repeats(scores, said, self.repeat)
        return scores, h, c


class GreedyStep(SearchStep):
    """One word further in :func:`model.decoding.greedy`: the body of a loop."""

    def forward(
        self,
        position: Tensor,
        word: Tensor,
        h: Tensor,
        c: Tensor,
        said: Tensor,
        ended: Tensor,
        regions: Tensor | None = None,
    ) -> tuple[Tensor, ...]:
        """
        :param position: int64 [], of the word to come
        :param word: int64 [B], the one before
        :param said: int64 [B, T], the words so far, the last one last, after ``<pad>``
        :param ended: bool [B]
        :returns: whether to go on, [1]; then what the next step takes for ``word`` to ``ended``; then this
            step's token and log-probability, [B, 1] each
        """
        scores, h, c = self.next_scores(position, word, h, c, said, regions)  # [B, V]
        score, word = scores.max(dim=-1)  # [B], [B]
        token = torch.where(ended, torch.full_like(word, PAD_ID), word)
        score = torch.where(ended, torch.zeros_like(score), score)
        ended = ended | (word == END_ID)
        said = torch.cat([said[:, 1:], word[:, None]], dim=1)
        return (~ended.all()).reshape(1), word, h, c, said, ended, token[:, None], score[:, None]


class BeamStep(SearchStep):
    """The scores of one word further in :func:`model.decoding.beam_search`, for any beam width K."""

    def __init__(self, network: CaptionNetwork, limits: Decoding) -> None:
        super().__init__(network, limits)
        # A caption that has ended goes on with <pad> at no cost, and with nothing else.
        only_pad = torch.full((network.output.out_features,), float("-inf"))  # [V]
        only_pad[PAD_ID] = 0.0
        self.only_pad: Tensor
        self.register_buffer("only_pad", only_pad)

    def forward(
        self,
        position: Tensor,
        word: Tensor,
        h: Tensor,
        c: Tensor,
        said: Tensor,
        ended: Tensor,
        total: Tensor,
        regions: Tensor | None = None,
    ) -> tuple[Tensor, ...]:
        """
        :param position: int64 [], of the word to come
        :param word: int64 [B · K], the one before
        :param said: int64 [B · K, T], the words so far, the last one last, after ``<pad>``
        :param ended: bool [B · K]
        :param total: float [B, K], log-probability of each beam so far
        :returns: h and c after these words; log-probability of each picture's MAX_BEAM best captions, and
            which they are: of K · V, [B, MAX_BEAM] each
        """
        scores, h, c = self.next_scores(position, word, h, c, said, regions)  # [B · K, V]
        scores = torch.where(ended[:, None], self.only_pad, scores)
        candidates = (total.reshape(-1, 1) + scores).reshape(total.shape[0], -1)  # [B, K · V]
        return h, c, *candidates.topk(MAX_BEAM, dim=-1)  # OpenVINO's number of them is a constant


def _look(attention: SpatialAttention, hidden: Tensor, regions: Tensor | None) -> Tensor:
    """:meth:`SpatialAttention.forward` for one query a picture; OpenVINO would lay the regions out anew for
    PyTorch's own function, at each step."""
    assert regions is not None
    _, heads, _, size = regions.shape
    query = (attention.query(hidden) * size**-0.5).view(-1, heads, 1, size)
    weights = torch.matmul(query, regions.transpose(2, 3)).softmax(dim=-1)  # [B, heads, 1, L]
    seen = torch.matmul(weights, regions).view(-1, heads * size)
    return torch.tanh(attention.merge(torch.cat([hidden, seen], dim=-1)))


def _layer(lstm: nn.LSTM, index: int) -> tuple[Tensor, Tensor, Tensor]:
    """Weights of the input and of the state, [4 · hidden_size, …], and bias, of one layer."""
    of_input, of_state, bias_of_input, bias_of_state = lstm.all_weights[index]
    return of_input, of_state, bias_of_input + bias_of_state


def _linear(weight: Tensor, bias: Tensor | None = None) -> nn.Linear:
    linear = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None)
    linear.weight.data.copy_(weight)
    if bias is not None:
        linear.bias.data.copy_(bias)
    return linear
