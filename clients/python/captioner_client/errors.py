"""Every error the client raises.

CaptionerError
├── UnreadableFile           the picture cannot be read here: its file, or a PIL image
├── InvalidKey               the API key holds what no request can carry
├── ConnectionFailed         nothing answers at that address, or the connection broke
├── TimedOut                 no answer within the client's timeout
├── InvalidAnswer            something answered that is not a captioning service
└── ServiceError             the service refused; has status, title, detail, code, request_id, retry_after
    ├── BadRequest           400
    ├── Unauthorized         401  no API key, or a wrong one
    ├── UploadTooSlow        408
    ├── TooLarge             413
    ├── UnsupportedPicture   415  not JPEG, PNG, WebP, GIF or BMP
    ├── UnusablePicture      422  damaged, too many pixels, or options out of range
    ├── Busy                 429  the queue is full
    ├── Unavailable          503  loading, stopping, or the picture's worker was lost
    └── DeadlinePassed       504  the service had no caption in time
"""

from __future__ import annotations


class CaptionerError(Exception):
    """Base of all; ``str(error)`` is one sentence for people."""


class UnreadableFile(CaptionerError):
    """The picture's file is missing or may not be read, or a PIL image cannot be encoded."""


class InvalidKey(CaptionerError):
    """The API key holds characters that no request can carry; it cannot be a service's key."""


class ConnectionFailed(CaptionerError):
    """Nothing answers at the address, or the connection broke, twice."""


class TimedOut(CaptionerError):
    """There was no answer within the client's ``timeout``."""


class InvalidAnswer(CaptionerError):
    """The answer is not that of a captioning service: a wrong address, or a proxy in between."""


class ServiceError(CaptionerError):
    """The service answered with an error.

    ``code`` is the last part of the problem's ``type``, such as ``too-many-pixels``; ``retry_after`` is in
    seconds, None if the service did not say; ``request_id`` finds the request in the service's log.
    """

    def __init__(
        self,
        status: int,
        title: str,
        detail: str,
        request_id: str = "",
        retry_after: float | None = None,
        code: str = "",
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.title = title
        self.detail = detail
        self.request_id = request_id
        self.retry_after = retry_after
        self.code = code


class BadRequest(ServiceError):
    """400"""


class Unauthorized(ServiceError):
    """401: the service wants a key, and not this one."""


class UploadTooSlow(ServiceError):
    """408: the picture did not arrive at the service in time."""


class TooLarge(ServiceError):
    """413: the picture has more bytes than the service takes."""


class UnsupportedPicture(ServiceError):
    """415: not JPEG, PNG, WebP, GIF or BMP."""


class UnusablePicture(ServiceError):
    """422: damaged, more pixels than the service takes, or options out of range."""


class Busy(ServiceError):
    """429: the queue is full, and the time to come again lies beyond the client's timeout."""


class Unavailable(ServiceError):
    """503: loading or stopping, and the time to come again lies beyond the client's timeout; or the service
    failed with this picture, which is then not sent again."""


class DeadlinePassed(ServiceError):
    """504: the service gave the picture up at its own deadline."""


BY_STATUS: dict[int, type[ServiceError]] = {
    400: BadRequest,
    401: Unauthorized,
    408: UploadTooSlow,
    413: TooLarge,
    415: UnsupportedPicture,
    422: UnusablePicture,
    429: Busy,
    503: Unavailable,
    504: DeadlinePassed,
}
