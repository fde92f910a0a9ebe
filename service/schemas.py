"""What the routes take and give, as OpenAPI shows it; each with a worked example."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from model.caption import MAX_BEAM
from model.config import Config


class Options(BaseModel):
    """Query of the captioning routes."""

    beam: int = Field(1, ge=1, le=MAX_BEAM, description="Beam width; 1 is greedy decoding.")
    n: int = Field(1, ge=1, le=MAX_BEAM, description="Captions wanted, best first; at most `beam`.")
    tokens: bool = Field(False, description="Give the log-probability of each word.")

    @model_validator(mode="after")
    def _n_within_beam(self) -> Options:
        if self.n > self.beam:
            raise ValueError("n may not be greater than beam")
        return self


def _example(value: dict[str, Any]) -> ConfigDict:
    # pydantic keeps the prefix "model_" for itself unless told otherwise
    return ConfigDict(protected_namespaces=(), json_schema_extra={"examples": [value]})


class Schema(BaseModel):
    model_config = ConfigDict(protected_namespaces=())


class Alternative(Schema):
    caption: str
    log_probability: float


class TokenProbability(Schema):
    text: str
    log_probability: float = Field(description="Natural logarithm, given the words before.")


MODEL_EXAMPLE = {"name": "flickr8k-mobilenet-edgetpu", "revision": "3f1c9a62b0de"}


class ModelName(Schema):
    model_config = _example(MODEL_EXAMPLE)

    name: str
    revision: str

    @classmethod
    def of(cls, config: Config) -> ModelName:
        return cls(name=config.name, revision=config.revision)


class Timing(Schema):
    """Where the time went, in milliseconds; `total_ms` counts from the request's complete head."""

    decode_ms: float
    queue_ms: float
    inference_ms: float
    total_ms: float
    batch_size: int = Field(description="Pictures in the batch this one was in.")


CAPTION_EXAMPLE: dict[str, Any] = {
    "caption": "a black dog runs through the grass",
    "log_probability": -6.81,
    "alternatives": [{"caption": "a black dog running through grass", "log_probability": -7.9}],
    "tokens": [{"text": "a", "log_probability": -0.2}, {"text": "black", "log_probability": -1.1}],
    "model": MODEL_EXAMPLE,
    "timing": {
        "decode_ms": 2.1,
        "queue_ms": 0.4,
        "inference_ms": 21.0,
        "total_ms": 24.6,
        "batch_size": 3,
    },
}


PROBLEM_EXAMPLE = {
    "type": "urn:captioner:problem:unreadable-picture",
    "title": "Picture cannot be read",
    "status": 422,
    "detail": "the picture is damaged or cut off",
    "request_id": "5f0c2e1b9d8a4c7e",
}


class CaptionResult(Schema):
    """One picture's caption."""

    model_config = _example(CAPTION_EXAMPLE)

    caption: str
    log_probability: float = Field(description="Natural logarithm, over its words and the sentence's end.")
    alternatives: list[Alternative] | None = Field(default=None, description="Only when `n` > 1.")
    tokens: list[TokenProbability] | None = Field(default=None, description="Only when `tokens` is true.")
    model: ModelName
    timing: Timing


class Problem(Schema):
    """RFC 9457 problem document (`application/problem+json`)."""

    type: str
    title: str
    status: int
    detail: str
    request_id: str


class FailedPicture(Schema):
    """Why one picture among several has no caption."""

    error: Problem


class CaptionResults(Schema):
    """One entry for each picture, in the order they were sent."""

    model_config = _example({"results": [CAPTION_EXAMPLE, {"error": PROBLEM_EXAMPLE}]})

    results: list[CaptionResult | FailedPicture]


class Queue(Schema):
    depth: int = Field(description="Pictures admitted and not yet answered.")
    limit: int


HEALTH_EXAMPLE = {
    "status": "ok",
    "model": MODEL_EXAMPLE,
    "device": "cpu",
    "queue": {"depth": 3, "limit": 256},
    "uptime_s": 3600.5,
    "version": "0.1.0",
}


class Health(Schema):
    """Readiness. `status` is `ok` with 200; anything else comes with 503."""

    model_config = _example(HEALTH_EXAMPLE)

    status: Literal["ok", "loading", "draining", "unavailable"]
    model: ModelName | None
    device: str | None = Field(description="Devices with a live worker, comma-separated.")
    queue: Queue
    uptime_s: float
    version: str


class Liveness(Schema):
    model_config = _example({"status": "ok"})

    status: Literal["ok"]


class Card(Schema):
    """The checkpoint's card."""

    model_config = _example(
        {
            **MODEL_EXAMPLE,
            "architecture": {"encoder": "mobilenet_edgetpu", "embed_size": 256, "hidden_size": 512},
            "preprocessing": {"image_size": 224, "resize": "squash", "filter": "bicubic"},
            "decoding": {"max_length": 20, "no_repeat_ngram": 3},
            "vocabulary_size": 2990,
            "facts": {"data": "Flickr8k, training split", "license": "academic, non-commercial"},
            "card": "# Model card\n…",
        }
    )

    name: str
    revision: str
    architecture: dict[str, Any]
    preprocessing: dict[str, Any]
    decoding: dict[str, Any]
    vocabulary_size: int
    facts: dict[str, Any] = Field(description="Data, licence, scores and how they were measured.")
    card: str = Field(description="The model card's text, Markdown.")
