"""The web page and the OpenAPI page. Every asset comes from this service; no script stands in the HTML."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import fastapi_offline
from fastapi import APIRouter, FastAPI
from starlette.responses import FileResponse, Response
from starlette.staticfiles import StaticFiles

STATIC = Path(__file__).parent.parent / "static"
SWAGGER = Path(fastapi_offline.__file__).parent / "static"
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'{inline}; img-src 'self' data: blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

router = APIRouter(include_in_schema=False)


@router.get("/")
async def page() -> FileResponse:
    return FileResponse(STATIC / "index.html", headers={"Content-Security-Policy": POLICY.format(inline="")})


@router.get("/docs")
async def docs() -> FileResponse:
    # Swagger UI sets style attributes by itself
    policy = POLICY.format(inline=" 'unsafe-inline'")
    return FileResponse(STATIC / "docs.html", headers={"Content-Security-Policy": policy})


class Assets(StaticFiles):
    """Files that a browser may keep, as long as it asks each time whether they have changed."""

    def file_response(self, *args: Any, **options: Any) -> Response:
        response = super().file_response(*args, **options)
        response.headers["Cache-Control"] = "no-cache"
        return response


def mount_assets(app: FastAPI) -> None:
    app.mount("/static/swagger", Assets(directory=SWAGGER), "swagger")
    app.mount("/static", Assets(directory=STATIC), "static")
