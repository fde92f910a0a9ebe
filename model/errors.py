"""The root of the project's one error tree.

CaptionerError
├── CheckpointError            a checkpoint folder cannot be used
├── PictureError               the picture, not the request, is at fault
│   ├── UnsupportedPicture     415  not JPEG, PNG, WebP, GIF or BMP
│   ├── UnreadablePicture      422  one of those formats, but damaged or empty
│   └── TooManyPixels          422  more pixels than the limit, judged from the header
├── InferenceError             503  the network gave no usable caption
└── ServiceError               the HTTP service's own errors: see service/errors.py

Every class carries the HTTP status and title it is answered with, so one handler serves them all and
the command line prints the same sentence that a client of the service reads.
"""

from __future__ import annotations


class CaptionerError(Exception):
    """Base of every error this project raises on purpose; ``str(error)`` is safe to show to a client."""

    status = 503
    title = "Something went wrong inside the service"
    code = "internal"

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class CheckpointError(CaptionerError):
    """A checkpoint folder is missing, incomplete, altered or does not agree with itself."""

    status = 503
    title = "Checkpoint unusable"
    code = "checkpoint"


class PictureError(CaptionerError):
    """Base of the errors that a picture itself causes."""

    status = 422
    title = "Picture unusable"
    code = "picture"


class UnsupportedPicture(PictureError):
    status = 415
    title = "Unsupported picture format"
    code = "unsupported-picture"


class UnreadablePicture(PictureError):
    title = "Picture cannot be read"
    code = "unreadable-picture"


class TooManyPixels(PictureError):
    title = "Picture has too many pixels"
    code = "too-many-pixels"


class InferenceError(CaptionerError):
    """The network ran but gave no usable caption (a log-probability that is not finite, no words)."""

    status = 503
    title = "Captioning failed"
    code = "inference-failed"
