"""Every error's one way out: an RFC 9457 problem document."""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import Any

from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse

from model.errors import CaptionerError
from service.errors import UnusableRequest

PROBLEM_JSON = "application/problem+json"
RETRY_S = "2"

log = logging.getLogger("captioner.problems")


def to_problem(error: Exception, request_id: str) -> dict[str, Any]:
    """The problem document of any exception; one we did not foresee says nothing about itself."""
    if isinstance(error, HTTPException):
        title = HTTPStatus(error.status_code).phrase
        return _problem(title.lower().replace(" ", "-"), title, error.status_code, error.detail, request_id)
    if isinstance(error, RequestValidationError):
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"][1:])
        message = first["msg"].removeprefix("Value error, ")
        error = UnusableRequest(f"{where}: {message}" if where else message)
    if not isinstance(error, CaptionerError):
        log.error("unforeseen error", exc_info=error, extra={"request_id": request_id})
        error = CaptionerError("the request could not be served")
    return _problem(error.code, error.title, error.status, error.detail, request_id)


def problem_response(error: Exception, request_id: str) -> JSONResponse:
    """The one error handler's answer: problem document, status, and the error's own headers."""
    problem = to_problem(error, request_id)
    headers = dict(getattr(error, "headers", None) or {})
    if problem["status"] == 503:
        headers.setdefault("Retry-After", RETRY_S)
    return JSONResponse(problem, problem["status"], headers, PROBLEM_JSON)


def _problem(code: str, title: str, status: int, detail: str, request_id: str) -> dict[str, Any]:
    return {
        "type": f"urn:captioner:problem:{code}",
        "title": title,
        "status": status,
        "detail": detail,
        "request_id": request_id,
    }
