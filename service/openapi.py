"""Parts of the OpenAPI document FastAPI cannot derive: bodies read by hand, a problem for each status."""

from __future__ import annotations

from typing import Any

from model.errors import CaptionerError, TooManyPixels, UnsupportedPicture
from model.preprocessing import FORMATS
from service.errors import (
    DeadlinePassed,
    KeyRequired,
    MalformedRequest,
    NotReady,
    QueueFull,
    UploadTooLarge,
    UploadTooSlow,
)
from service.problems import PROBLEM_JSON, to_problem

_EXAMPLES: dict[int, CaptionerError] = {
    error.status: error
    for error in (
        MalformedRequest("the multipart body is not terminated"),
        KeyRequired("send a valid key as 'Authorization: Bearer KEY' or 'X-API-Key: KEY'"),
        UploadTooSlow("the upload did not arrive in time"),
        UploadTooLarge("a picture may have at most 10,485,760 bytes"),
        UnsupportedPicture("not a supported picture: send JPEG, PNG, WebP, GIF or BMP"),
        TooManyPixels("the picture is 65,535 × 65,535 pixels; at most 40,000,000 pixels are taken"),
        QueueFull("256 pictures are waiting already; try again in 4 s"),
        NotReady("the service is loading"),
        DeadlinePassed("no caption in time"),
    )
}


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """``responses=`` of a route: each status it can fail with, with a worked example."""
    return {
        status: {
            "description": _EXAMPLES[status].title,
            "content": {
                PROBLEM_JSON: {
                    "schema": {"$ref": "#/components/schemas/Problem"},
                    "example": to_problem(_EXAMPLES[status], "5f0c2e1b9d8a4c7e"),
                }
            },
        }
        for status in statuses
    }


def multipart_body(field: str, many: bool = False) -> dict[str, Any]:
    """A form with one file field, which may be repeated where ``many``."""
    file = {"type": "string", "contentMediaType": "application/octet-stream", "format": "binary"}
    schema = {"type": "array", "items": file, "minItems": 1, "maxItems": 32} if many else file
    properties = {"type": "object", "required": [field], "properties": {field: schema}}
    return {"multipart/form-data": {"schema": {**properties, "additionalProperties": False}}}


def raw_body() -> dict[str, Any]:
    """The picture itself as the body."""
    schema = {"type": "string", "format": "binary"}
    return {f"image/{name.lower()}": {"schema": schema} for name in FORMATS}
