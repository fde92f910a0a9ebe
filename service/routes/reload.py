"""``POST /model/reload``: a new checkpoint takes over under load."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.requests import Request

from service.errors import NotReady, ReloadForbidden
from service.openapi import HEAD_PROBLEMS, problems
from service.schemas import ModelName
from service.state import state_of

router = APIRouter(tags=["status"], responses=HEAD_PROBLEMS)


@router.post(
    "/model/reload",
    summary="Load the checkpoint anew",
    response_description="In use",
    responses=problems(401, 403, 409, 503),
)
async def reload_model(request: Request) -> ModelName:
    """Loads the checkpoint folder again and answers once its present contents are in use.

    Captioning goes on meanwhile, and no request fails. A checkpoint that cannot be used is refused, and what
    ran before runs on. Only for who has a key: a service without keys answers 403.

    ```
    curl -X POST -H 'X-API-Key: KEY' http://127.0.0.1:8000/model/reload
    ```
    """
    state = state_of(request)
    if not state.settings.api_keys:
        raise ReloadForbidden("set --api-keys (CAPTIONER_API_KEYS) to have the model changed by a request")
    if state.admission.state != "ok" or state.runner.model is None:
        raise NotReady(f"the service is {state.admission.state}")
    await state.runner.reload()
    return ModelName.of(state.runner.model.config)
