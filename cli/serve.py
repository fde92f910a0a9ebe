"""``captioner serve``: one flag for each setting, made from the settings object itself."""

from __future__ import annotations

import inspect
from typing import Annotated, Any

import typer

from service.settings import PREFIX, Settings, load_settings


def serve(**flags: Any) -> None:
    """Serve captions over HTTP until Ctrl-C or SIGTERM.

    Every flag is also an environment variable: `--max-queue 64` is `CAPTIONER_MAX_QUEUE=64`.

        captioner serve

        captioner serve --host 0.0.0.0 --port 9000 --log-format json

        captioner serve --checkpoint runs/mine --device cuda:0,cuda:1 --http-workers 4

        CAPTIONER_API_KEYS=first-key,second-key captioner serve

        captioner serve --engine ray
    """
    from service import tracing
    from service.logs import set_up_logging

    settings = load_settings(flags)
    tracing.wanted()  # said here, what is wrong with it is said once
    set_up_logging(settings.log_format, settings.log_level)
    if settings.engine == "ray":
        from service.ray_app import run_service
    else:
        from service.supervisor import serve as run_service
    raise typer.Exit(run_service(settings))


def _flag(name: str) -> inspect.Parameter:
    field = Settings.model_fields[name]
    help_text = f"{field.description} [env: {PREFIX}{name.upper()}]"
    option = typer.Option(f"--{name.replace('_', '-')}", help=help_text, metavar="VALUE", show_default=False)
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[str | None, option]
    )


_parameters = [_flag(name) for name in Settings.model_fields]
serve.__signature__ = inspect.Signature(_parameters)  # type: ignore[attr-defined]
serve.__annotations__ = {parameter.name: parameter.annotation for parameter in _parameters}
