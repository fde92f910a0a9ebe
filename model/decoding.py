"""Greedy and beam search over a :class:`model.network.Decoder`, a whole batch at a time.

Both give the words' log-probabilities under the network's own softmax. Words that may not come next
(specials, a repetition) are passed over, not renormalised away.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from model.config import Decoding
from model.network import Decoder, Seen, State
from model.vocabulary import END_ID, PAD_ID, START_ID, UNK_ID


class Decoded(NamedTuple):
    """Captions as ids, best first.

    ``tokens`` int64 [B, K, T], each row its words, ``<end>`` if it was reached, then ``<pad>``;
    ``log_probs`` float [B, K, T], zero under ``<pad>``. Where the network predicts ``<start>`` itself,
    ``<pad>`` stands in its place, over its log-probability.
    """

    tokens: Tensor
    log_probs: Tensor


@torch.inference_mode()
def greedy(network: Decoder, seen: Seen, limits: Decoding) -> Decoded:
    """The likeliest word at each step, until every caption of the batch of B pictures has ended."""
    state = network.start(seen)
    embedding = seen.embedding
    batch, device = embedding.shape[0], embedding.device
    tokens = torch.full((batch, _steps(limits)), PAD_ID, device=device)  # [B, T]
    log_probs = embedding.new_zeros(batch, _steps(limits))  # [B, T]
    rows = torch.arange(batch, device=device)  # [A]: the captions that have not ended; only they go on
    word = torch.full((batch,), START_ID, device=device)  # [A]
    length = 0
    while length < _steps(limits) and len(rows):
        scores, state = _next_scores(network, word, state, tokens[rows, :length], limits)  # [A, V]
        score, word = scores.max(dim=-1)  # [A], [A]
        tokens[rows, length], log_probs[rows, length] = word, score
        length += 1
        going = word != END_ID
        if not going.all():
            rows, word, state = rows[going], word[going], state.rows(going)
    return Decoded(_without_start(tokens[:, :length])[:, None], log_probs[:, None, :length])


@torch.inference_mode()
def greedy_to_the_end(network: Decoder, seen: Seen, limits: Decoding) -> Decoded:
    """What :func:`greedy` gives, in as many steps as any caption may take, T.

    What is run does not depend on the words: nobody waits for the device before the end, and the whole can be
    one CUDA graph.
    """
    state = network.start(seen)
    embedding = seen.embedding
    batch, device = embedding.shape[0], embedding.device
    tokens = torch.full((batch, _steps(limits)), PAD_ID, device=device)  # [B, T]
    log_probs = embedding.new_zeros(batch, _steps(limits))  # [B, T]
    word = torch.full((batch,), START_ID, device=device)  # [B]
    ended = torch.zeros(batch, dtype=torch.bool, device=device)  # [B]
    for length in range(_steps(limits)):
        scores, state = _next_scores(network, word, state, tokens[:, :length], limits)  # [B, V]
        score, word = scores.max(dim=-1)  # [B], [B]
        tokens[:, length] = word.masked_fill(ended, PAD_ID)
        log_probs[:, length] = score.masked_fill(ended, 0.0)
        ended = ended | (word == END_ID)
    return Decoded(_without_start(tokens)[:, None], log_probs[:, None])


@torch.inference_mode()
def beam_search(network: Decoder, seen: Seen, limits: Decoding, width: int) -> Decoded:
    """The ``width`` captions of highest log-probability that beam search finds, K = width."""
    embedding = seen.embedding
    batch, device = embedding.shape[0], embedding.device
    state = network.start(seen.repeat(width))  # rows: B · K
    word = torch.full((batch * width,), START_ID, device=device)
    ended = torch.zeros(batch, width, dtype=torch.bool, device=device)
    tokens = word.new_empty(batch * width, 0)  # [B · K, t]
    log_probs = embedding.new_empty(batch * width, 0)  # [B · K, t]
    total = torch.full((batch, width), float("-inf"), dtype=embedding.dtype, device=device)
    total[:, 0] = 0.0  # all beams begin alike: only the first may branch
    first_row = torch.arange(batch, device=device)[:, None] * width  # [B, 1]
    while tokens.shape[1] < _steps(limits) and not ended.all():
        scores, state = _next_scores(network, word, state, tokens, limits)  # [B · K, V]
        vocabulary_size = scores.shape[-1]
        # A caption that has ended goes on with <pad> at no cost, and with nothing else.
        scores = scores.masked_fill(ended.view(-1, 1), float("-inf"))
        scores[:, PAD_ID] = torch.where(ended.view(-1), 0.0, scores[:, PAD_ID])
        candidates = (total.view(-1, 1) + scores).view(batch, -1)  # [B, K · V]
        total, best = candidates.topk(width, dim=-1)  # [B, K]
        rows = (first_row + best // vocabulary_size).view(-1)  # [B · K]: the beam each one continues
        word = (best % vocabulary_size).view(-1)
        state = state.rows(rows)
        tokens = torch.cat([tokens[rows], word[:, None]], dim=1)
        log_probs = torch.cat([log_probs[rows], scores[rows, word][:, None]], dim=1)
        ended = ended.view(-1)[rows].view(batch, width) | (word == END_ID).view(batch, width)
    return Decoded(_without_start(tokens).view(batch, width, -1), log_probs.view(batch, width, -1))


def _steps(limits: Decoding) -> int:
    return limits.max_length + (2 if limits.predicts_start else 1)  # <end>, and <start> where it is predicted


def _without_start(tokens: Tensor) -> Tensor:
    return tokens.masked_fill(tokens == START_ID, PAD_ID)


def _next_scores(
    network: Decoder, word: Tensor, state: State, tokens: Tensor, limits: Decoding
) -> tuple[Tensor, State]:
    """Log-probability of each word coming next, -inf for those that may not: [B, V]."""
    length = tokens.shape[1]
    if length == 0 and limits.predicts_start:
        logits = network.first(state)  # [B, V]
    else:
        logits, state = network.step(word, state)
    scores = logits.log_softmax(dim=-1)
    if not limits.predicts_start:
        _forbid_specials(scores, length, limits.max_length)
    if length and limits.no_repeat_ngram:
        scores = without_repeats(scores, tokens, limits.no_repeat_ngram)
    return scores, state


def ruled_out(limits: Decoding, vocabulary_size: int) -> Tensor:
    """What to add to the scores of each position's words: -inf for those that may not come there, else 0.

    :returns: float [T, vocabulary_size], T positions of which the last has room for ``<end>`` alone
    """
    table = torch.zeros(_steps(limits), vocabulary_size)
    for position in range(len(table)):
        _forbid_specials(table[position : position + 1], position, limits.max_length)
    return table


def _forbid_specials(scores: Tensor, length: int, max_length: int) -> None:
    """Set to -inf, in place, the tokens that are no words, and what may not come after ``length`` words."""
    for special in (PAD_ID, START_ID, UNK_ID):  # one by one: a list of them would be copied to the device
        scores[:, special] = float("-inf")
    if length == 0:
        scores[:, END_ID] = float("-inf")  # a caption has at least one word
    elif length >= max_length:
        end = scores[:, END_ID].clone()  # room for <end> alone
        scores.fill_(float("-inf"))
        scores[:, END_ID] = end


def without_repeats(scores: Tensor, tokens: Tensor, n: int) -> Tensor:
    """Scores [B, V] with -inf for "the the" and each word that would complete an n-gram said before.

    :param tokens: int64 [B, t], the words so far; what stands before the first is ``<pad>``
    """
    banned = tokens[:, -1:]
    if tokens.shape[1] >= n:
        grams = tokens.unfold(1, n, 1)  # [B, t - n + 1, n]
        last = tokens[:, None, tokens.shape[1] - n + 1 :]  # [B, 1, n - 1]: what the next word would complete
        seen = (grams[:, :, :-1] == last).all(dim=-1)  # [B, t - n + 1]
        # Never all of them: the last n-gram would have to be one word n times.
        banned = torch.where(seen, grams[:, :, -1], banned)
    return scores.scatter(1, banned, float("-inf"))
