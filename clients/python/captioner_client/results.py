"""What the service answers, typed. Log-probabilities are natural logarithms; times are milliseconds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Alternative:
    """Another caption, less likely than the first."""

    text: str
    log_probability: float


@dataclass(frozen=True, slots=True)
class Token:
    """A word of the caption and its log-probability given the words before it."""

    text: str
    log_probability: float


@dataclass(frozen=True, slots=True)
class Model:
    """The checkpoint that wrote the caption."""

    name: str
    revision: str


@dataclass(frozen=True, slots=True)
class Timing:
    """Where the service's time went, and how many pictures shared the batch."""

    decode_ms: float
    queue_ms: float
    inference_ms: float
    total_ms: float
    batch_size: int


@dataclass(frozen=True, slots=True)
class Caption:
    """One picture's caption. ``str(caption)`` is its text."""

    text: str
    log_probability: float
    alternatives: tuple[Alternative, ...]
    tokens: tuple[Token, ...]
    model: Model
    timing: Timing

    def __str__(self) -> str:
        return self.text

    @classmethod
    def from_json(cls, answer: dict[str, Any]) -> Caption:
        """:raises LookupError, TypeError: it is not the service's answer"""
        return cls(
            text=answer["caption"],
            log_probability=answer["log_probability"],
            alternatives=tuple(
                Alternative(other["caption"], other["log_probability"])
                for other in answer.get("alternatives", ())
            ),
            tokens=tuple(Token(t["text"], t["log_probability"]) for t in answer.get("tokens", ())),
            model=Model(answer["model"]["name"], answer["model"]["revision"]),
            timing=Timing(**{name: answer["timing"][name] for name in Timing.__slots__}),
        )
