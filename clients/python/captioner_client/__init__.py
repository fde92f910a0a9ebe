"""Client of the captioning service, blocking (:class:`Captioner`) and asyncio (:class:`AsyncCaptioner`)."""

from captioner_client.asynchronous import AsyncCaptioner
from captioner_client.blocking import Captioner
from captioner_client.errors import (
    BadRequest,
    Busy,
    CaptionerError,
    ConnectionFailed,
    DeadlinePassed,
    InvalidAnswer,
    InvalidKey,
    ServiceError,
    TimedOut,
    TooLarge,
    Unauthorized,
    Unavailable,
    UnreadableFile,
    UnsupportedPicture,
    UnusablePicture,
    UploadTooSlow,
)
from captioner_client.pictures import Picture
from captioner_client.results import Alternative, Caption, Model, Timing, Token

__version__ = "0.1.0"

__all__ = [
    "Alternative",
    "AsyncCaptioner",
    "BadRequest",
    "Busy",
    "Caption",
    "Captioner",
    "CaptionerError",
    "ConnectionFailed",
    "DeadlinePassed",
    "InvalidAnswer",
    "InvalidKey",
    "Model",
    "Picture",
    "ServiceError",
    "TimedOut",
    "Timing",
    "Token",
    "TooLarge",
    "Unauthorized",
    "Unavailable",
    "UnreadableFile",
    "UnsupportedPicture",
    "UnusablePicture",
    "UploadTooSlow",
]
