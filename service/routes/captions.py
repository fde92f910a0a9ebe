"""``POST /caption`` and ``POST /captions``."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.routing import APIRoute
from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response

from model.errors import CaptionerError, InferenceError, PictureError
from service.disconnect import while_connected
from service.errors import WorkerLost
from service.openapi import HEAD_PROBLEMS, multipart_body, problems, raw_body
from service.problems import to_problem
from service.schemas import CaptionResult, CaptionResults, FailedPicture, Options, Problem
from service.state import state_of
from service.upload import read_pictures

MAX_PICTURES = 32
DEFAULTS = Options.model_validate({})


class CaptionRoute(APIRoute):
    """A route of ``Options``: where the query names none, FastAPI need not look for any."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        with_options = super().get_route_handler()

        async def handle(request: Request) -> Response:
            if request.scope["query_string"]:
                return await with_options(request)
            answer: Response = await self.endpoint(request, DEFAULTS)
            return answer

        return handle


router = APIRouter(tags=["captions"], responses=HEAD_PROBLEMS, route_class=CaptionRoute)


@router.post(
    "/caption",
    summary="Caption one picture",
    response_model=CaptionResult,
    response_description="The caption",
    responses=problems(400, 401, 408, 413, 415, 422, 429, 503, 504),
    openapi_extra={"requestBody": {"required": True, "content": {**multipart_body("image"), **raw_body()}}},
)
async def caption(request: Request, options: Annotated[Options, Query()]) -> Response:
    """Send a picture (JPEG, PNG, WebP, GIF or BMP), get one English sentence about it.

    The picture is the file field `image` of a form, or the whole body with a content type of `image/*`:

    ```
    curl -F image=@photo.jpg http://127.0.0.1:8000/caption
    curl -F image=@photo.jpg 'http://127.0.0.1:8000/caption?beam=5&n=3&tokens=true'
    curl --data-binary @photo.jpg -H 'Content-Type: image/jpeg' http://127.0.0.1:8000/caption
    ```
    """
    state = state_of(request)
    state.admission.check()
    started, deadline = _times(request)
    limit = state.settings.max_upload_bytes
    with state.admission.upload() as take:
        (data,) = [p async for p in read_pictures(request, "image", 1, limit, deadline, take)]
        result = await while_connected(request, state.pipeline.caption(data, options, started, deadline))
    request.state.timing = result.timing
    return _json(result)


@router.post(
    "/captions",
    summary="Caption several pictures",
    response_model=CaptionResults,
    response_description="A caption or an error for each picture",
    responses=problems(
        400, 401, 408, 413, 415, 422, 429, 503, without=(PictureError, InferenceError, WorkerLost)
    ),
    openapi_extra={"requestBody": {"required": True, "content": multipart_body("images", many=True)}},
)
async def captions(request: Request, options: Annotated[Options, Query()]) -> Response:
    """Send up to 32 pictures as the form's file field `images`, repeated; get a result for each, in order.

    A picture that cannot be captioned gets an `error` in its place and fails no other.

    ```
    curl -F images=@one.jpg -F images=@two.png http://127.0.0.1:8000/captions
    ```
    """
    state = state_of(request)
    state.admission.check()
    started, deadline = _times(request)
    tasks: list[asyncio.Task[CaptionResult]] = []
    limit = state.settings.max_upload_bytes
    with state.admission.upload() as take:
        try:
            async for data in read_pictures(request, "images", MAX_PICTURES, limit, deadline, take):
                work = state.pipeline.caption(data, options, started, deadline)
                tasks.append(asyncio.create_task(work))
            outcomes = await while_connected(request, _all(tasks))
        finally:
            for task in tasks:
                task.cancel()
    results = [_entry(outcome, request.state.request_id) for outcome in outcomes]
    return _json(CaptionResults(results=results))


def _json(answer: BaseModel) -> Response:
    """The answer by pydantic's compiled serialiser; as a model, FastAPI would validate it once more."""
    return Response(answer.model_dump_json(exclude_none=True), media_type="application/json")


def _times(request: Request) -> tuple[float, float]:
    started: float = request.state.started
    return started, started + state_of(request).settings.request_timeout


async def _all(tasks: list[asyncio.Task[CaptionResult]]) -> list[CaptionResult | BaseException]:
    return await asyncio.gather(*tasks, return_exceptions=True)


def _entry(outcome: CaptionResult | BaseException, request_id: str) -> CaptionResult | FailedPicture:
    if isinstance(outcome, CaptionResult):
        return outcome
    error = outcome if isinstance(outcome, Exception) else CaptionerError("the picture was given up")
    problem: dict[str, Any] = to_problem(error, request_id)
    return FailedPicture(error=Problem(**problem))
