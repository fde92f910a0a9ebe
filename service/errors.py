"""The HTTP service's part of the error tree (its root is :mod:`model.errors`).

ServiceError
├── MalformedRequest    400  not HTTP, not multipart, or not as either should be
├── KeyRequired         401  no API key, or a wrong one
├── ReloadForbidden     403  whoever may caption may not change the model where no keys are set
├── UploadTooSlow       408  the body did not arrive in time
├── ReloadRunning       409  another is under way
├── CheckpointRefused   409  the one to be loaded cannot be used
├── UploadTooLarge      413  more bytes than the limit
├── AddressTooLong      414  more bytes than a head may have
├── UnsupportedBody     415  neither multipart nor image/*
├── UnusableRequest     422  well formed, but a field is missing, unknown or out of range
├── QueueFull           429  as many pictures admitted as the limit allows, or as can be captioned in time
├── HeadTooLarge        431  too many headers, or too many bytes of them
├── NotReady            503  loading, draining, or no worker
├── WorkerLost          503  the worker died with this picture, twice
└── DeadlinePassed      504  no answer in time
"""

from __future__ import annotations

from model.errors import CaptionerError

START_REFUSED = 3  # exit code of a device worker that no restart would help


class ServiceError(CaptionerError):
    """Base of the errors that the service itself answers with; ``headers`` go into the response."""

    def __init__(self, detail: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(detail)
        self.headers = headers or {}


class MalformedRequest(ServiceError):
    status, title, code = 400, "Malformed request", "malformed-request"


class KeyRequired(ServiceError):
    status, title, code = 401, "API key required", "key-required"


class ReloadForbidden(ServiceError):
    status, title, code = 403, "Reload forbidden", "reload-forbidden"


class UploadTooSlow(ServiceError):
    status, title, code = 408, "Upload too slow", "upload-too-slow"


class ReloadRunning(ServiceError):
    status, title, code = 409, "Reload running", "reload-running"


class CheckpointRefused(ServiceError):
    status, title, code = 409, "Checkpoint refused", "checkpoint-refused"


class UploadTooLarge(ServiceError):
    status, title, code = 413, "Upload too large", "upload-too-large"


class AddressTooLong(ServiceError):
    status, title, code = 414, "Address too long", "address-too-long"


class UnsupportedBody(ServiceError):
    status, title, code = 415, "Unsupported request body", "unsupported-body"


class UnusableRequest(ServiceError):
    status, title, code = 422, "Unusable request", "unusable-request"


class QueueFull(ServiceError):
    status, title, code = 429, "Queue full", "queue-full"


class HeadTooLarge(ServiceError):
    status, title, code = 431, "Request head too large", "head-too-large"


class NotReady(ServiceError):
    status, title, code = 503, "Not ready", "not-ready"


class WorkerLost(ServiceError):
    status, title, code = 503, "Worker lost", "worker-lost"


class DeadlinePassed(ServiceError):
    status, title, code = 504, "Deadline passed", "deadline-passed"
