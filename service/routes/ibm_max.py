"""The interface of the archived IBM MAX Image Caption Generator: its clients need only a new address.

Errors that interface had keep their form there (400, ``message`` and ``errors``); what it never foresaw is a
problem document as everywhere else. It listened only once its model was loaded, so its clients take the first
answer for readiness and then send all they have: these routes wait while the model loads.
"""

from __future__ import annotations

import asyncio
import math
import mimetypes
import time
from collections.abc import Callable
from typing import Any, NoReturn

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse

from model.errors import InferenceError, UnsupportedPicture
from service.disconnect import while_connected
from service.errors import NotReady, UnsupportedBody, UnusableRequest, WorkerLost
from service.openapi import HEAD_PROBLEMS, multipart_body, problems
from service.schemas import Options
from service.state import AppState, state_of
from service.upload import read_pictures

BEAMS = 3
WRONG_TYPE = {"message": "Invalid file type/extension. Please provide an image in JPEG or PNG format."}
MISSING = "Input payload validation failed"
POLL_S = 0.05

router = APIRouter(prefix="/model", tags=["IBM MAX"], responses=HEAD_PROBLEMS)


class Prediction(BaseModel):
    index: str = Field(description="Rank, best first, from 0.")
    caption: str
    probability: float = Field(description="Of the whole caption: e to the power of its log-probability.")


PREDICTIONS_EXAMPLE: dict[str, Any] = {
    "status": "ok",
    "predictions": [
        {"index": "0", "caption": "a black dog runs through the grass", "probability": 0.0388},
        {"index": "1", "caption": "a black dog is running through the grass", "probability": 0.0101},
    ],
}


class Predictions(BaseModel):
    """Up to three captions, best first."""

    model_config = ConfigDict(json_schema_extra={"examples": [PREDICTIONS_EXAMPLE]})

    status: str
    predictions: list[Prediction]


METADATA_EXAMPLE: dict[str, Any] = {
    "id": "flickr8k-mobilenet-edgetpu",
    "name": "Flickr8K Mobilenet Edgetpu",
    "description": "mobilenet_edgetpu encoder and LSTM decoder, revision 3f1c9a62b0de",
    "type": "Image-to-Text Translation",
    "source": "http://127.0.0.1:8000/model",
    "license": "academic, non-commercial",
}


class Metadata(BaseModel):
    """What the service runs, in that interface's words."""

    model_config = ConfigDict(json_schema_extra={"examples": [METADATA_EXAMPLE]})

    id: str
    name: str
    description: str
    type: str
    source: str = Field(description="Address of the model's card.")
    license: str


_MALFORMED = problems(400)[400]["content"]  # a body that is no form at all
_REFUSED: dict[int | str, dict[str, Any]] = {
    400: {
        "description": "No file field `image`, or not a JPEG or PNG; malformed request",
        "content": {"application/json": {"example": WRONG_TYPE}, **_MALFORMED},
    }
}


@router.post(
    "/predict",
    summary="Caption one picture, as IBM MAX did",
    response_model=Predictions,
    response_description="Captions, best first",
    responses={**_REFUSED, **problems(401, 408, 413, 422, 429, 503, 504, without=(UnusableRequest,))},
    openapi_extra={"requestBody": {"required": True, "content": multipart_body("image")}},
)
async def predict(request: Request) -> Predictions | JSONResponse:
    """The archived IBM MAX Image Caption Generator's route: a form with the file field `image`, JPEG or PNG.

    Three captions come back, best first. New programs are better served by `POST /caption`.

    ```
    curl -F image=@photo.jpg http://127.0.0.1:8000/model/predict
    ```
    """
    state = state_of(request)
    started: float = request.state.started
    deadline = started + state.settings.request_timeout
    await _loaded(state, deadline)
    state.admission.check()
    options = Options(beam=BEAMS, n=BEAMS, tokens=False)
    try:
        with state.admission.upload() as take:
            data = await _read(request, deadline, take)
            result = await while_connected(request, state.pipeline.caption(data, options, started, deadline))
    except UnsupportedPicture:
        return JSONResponse(WRONG_TYPE, 400)
    except (UnusableRequest, UnsupportedBody) as error:
        return JSONResponse({"errors": {"image": error.detail}, "message": MISSING}, 400)
    request.state.timing = result.timing
    found = [(result.caption, result.log_probability)]
    found += [(other.caption, other.log_probability) for other in result.alternatives or []]
    predictions = [
        Prediction(index=str(rank), caption=text, probability=math.exp(log_probability))
        for rank, (text, log_probability) in enumerate(found)
    ]
    return Predictions(status="ok", predictions=predictions)


async def probe(request: Request) -> NoReturn:
    """Answer 405, as the archived service did, and like it not before the model is loaded."""
    state = state_of(request)
    await _loaded(state, request.state.started + state.settings.request_timeout)
    raise HTTPException(405)


# No route of the interface, or a 405's Allow would name the method that has just been refused.
router.add_route(f"{router.prefix}/predict", probe, methods=["GET"])


@router.get(
    "/metadata",
    summary="What runs here, as IBM MAX said it",
    response_description="The model in a few words",
    responses=problems(401, 503, without=(WorkerLost, InferenceError)),
)
async def metadata(request: Request) -> Metadata:
    """The archived IBM MAX interface's description of the model; `GET /model` has the whole card.

    ```
    curl http://127.0.0.1:8000/model/metadata
    ```
    """
    info = state_of(request).runner.model
    if info is None:
        raise NotReady("the service is loading")
    config = info.config
    return Metadata(
        id=config.name,
        name=config.name.replace("-", " ").title(),
        description=f"{config.architecture.encoder} encoder and LSTM decoder, revision {config.revision}",
        type="Image-to-Text Translation",
        source=f"{request.base_url}model",
        license=str(config.card.get("license", "unknown")),
    )


async def _read(request: Request, deadline: float, take: Callable[[int], None]) -> bytes:
    """The form's one picture; see :func:`service.upload.read_pictures`."""
    if not request.headers.get("content-type", "").lower().startswith("multipart/form-data"):
        raise UnusableRequest("the file field 'image' is missing")
    limit = state_of(request).settings.max_upload_bytes
    pictures = read_pictures(request, "image", 1, limit, deadline, take, _check_type)
    (data,) = [picture async for picture in pictures]
    return data


def _check_type(kind: str, filename: str) -> None:
    """:raises UnsupportedPicture: the part is declared, or else named, as something other than JPEG or PNG"""
    kind = kind or mimetypes.guess_type(filename)[0] or ""
    if not kind.endswith(("jpg", "jpeg", "png")):
        raise UnsupportedPicture(WRONG_TYPE["message"])


async def _loaded(state: AppState, deadline: float) -> None:
    """Wait while the model loads, until ``deadline`` at most, in seconds of :func:`time.monotonic`."""
    # nothing tells of a change: the state is a worker's sign of life in shared memory
    while state.admission.state == "loading" and time.monotonic() < deadline:  # noqa: ASYNC110
        await asyncio.sleep(POLL_S)
