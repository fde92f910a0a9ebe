"""Parts of the OpenAPI document FastAPI cannot derive: bodies read by hand, a problem for each status."""

from __future__ import annotations

from typing import Any

from model.errors import CaptionerError, InferenceError, TooManyPixels, UnreadablePicture, UnsupportedPicture
from service.errors import (
    AddressTooLong,
    CheckpointRefused,
    DeadlinePassed,
    HeadTooLarge,
    KeyRequired,
    MalformedRequest,
    NotReady,
    QueueFull,
    ReloadForbidden,
    ReloadRunning,
    UnsupportedBody,
    UnusableRequest,
    UploadTooLarge,
    UploadTooSlow,
    WorkerLost,
)
from service.problems import PROBLEM_JSON, to_problem

_EXAMPLES: tuple[CaptionerError, ...] = (
    MalformedRequest("the multipart body is not terminated"),
    KeyRequired("send a valid key as 'Authorization: Bearer KEY' or 'X-API-Key: KEY'"),
    ReloadForbidden("set --api-keys (CAPTIONER_API_KEYS) to have the model changed by a request"),
    ReloadRunning("the checkpoint is being loaded already"),
    CheckpointRefused("the checkpoint cannot be used; the log says why, and what ran before runs on"),
    UploadTooSlow("the upload did not arrive in time"),
    UploadTooLarge("a picture may have at most 10,485,760 bytes"),
    UnsupportedBody("compressed request bodies are not taken; send the picture as it is"),
    UnsupportedPicture("not a supported picture: send JPEG, PNG, WebP, GIF or BMP"),
    UnusableRequest("n may not be greater than beam"),
    UnreadablePicture("the picture is damaged or cut off"),
    TooManyPixels("the picture is 65,535 × 65,535 pixels; at most 40,000,000 pixels are taken"),
    QueueFull("256 pictures are waiting already; try again in 4 s"),
    NotReady("the service is loading"),
    WorkerLost("the worker died with this picture, twice"),
    InferenceError("the network gave no usable caption"),
    DeadlinePassed("no caption in time"),
)
_PROBLEM_SCHEMA = {"$ref": "#/components/schemas/Problem"}
_REQUEST_ID = "5f0c2e1b9d8a4c7e"
RETRY_AFTER = {
    "Retry-After": {"description": "Seconds after which to try again.", "schema": {"type": "integer"}}
}


def problems(
    *statuses: int, without: tuple[type[CaptionerError], ...] = ()
) -> dict[int | str, dict[str, Any]]:
    """``responses=`` of a route: each status it can fail with, with a worked example of each reason.

    :param without: errors of these statuses that the route never answers with
    """
    return {
        status: _response(status, [e for e in _EXAMPLES if e.status == status and not isinstance(e, without)])
        for status in statuses
    }


def _response(status: int, errors: list[CaptionerError]) -> dict[str, Any]:
    examples = {
        error.code: {"summary": error.title, "value": to_problem(error, _REQUEST_ID)} for error in errors
    }
    response: dict[str, Any] = {
        "description": "; ".join(error.title for error in errors),
        "content": {PROBLEM_JSON: {"schema": _PROBLEM_SCHEMA, "examples": examples}},
    }
    if status in (429, 503):
        response["headers"] = RETRY_AFTER
    return response


# What any route answers when a request's head is at fault, before the route sees it.
HEAD_PROBLEMS: dict[int | str, dict[str, Any]] = {
    400: _response(400, [MalformedRequest("the Host header names no host")]),
    414: _response(414, [AddressTooLong("the head of a request may have at most 32,768 bytes")]),
    431: _response(431, [HeadTooLarge("at most 100 headers are taken")]),
}


def multipart_body(field: str, many: bool = False) -> dict[str, Any]:
    """A form with one file field, which may be repeated where ``many``."""
    file = {"type": "string", "contentMediaType": "application/octet-stream", "format": "binary"}
    schema = {"type": "array", "items": file, "minItems": 1, "maxItems": 32} if many else file
    properties = {"type": "object", "required": [field], "properties": {field: schema}}
    return {"multipart/form-data": {"schema": {**properties, "additionalProperties": False}}}


def raw_body() -> dict[str, Any]:
    """The picture itself as the body."""
    return {"image/*": {"schema": {"type": "string", "format": "binary"}}}
