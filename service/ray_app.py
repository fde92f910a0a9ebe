"""The service on Ray: ``serve run service.ray_app:app``, or ``captioner serve --engine ray``.

Two deployments: ``FrontEnd``, the same HTTP application as everywhere, and ``Model``, which captions. Ray
places, scales and replaces their replicas; a Serve configuration file says how many and where
(``docker/ray/serve.yaml``).
"""

from __future__ import annotations

import logging
import os
import signal
import threading
from typing import Any

import ray
from ray import serve
from ray.serve.handle import DeploymentHandle
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from model.config import BUNDLED
from service.app import create_app
from service.logs import set_up_logging
from service.ray_model import ModelReplica
from service.ray_runner import RayRunner
from service.settings import Settings, SettingsError, load_settings
from service.supervisor import StartError, listen
from service.tracing import Tracing, provider_of_environment, wanted

NAME = "captioner"
FULL_BATCHES = 2.0  # of pictures, waiting or being captioned, that one replica has before another is started

log = logging.getLogger("captioner")


class BehindRay:
    """The application as Ray's way in wants it.

    Ray runs an application's lifespan, and leaves what that yields out of its requests; and it gives every
    answer the request's id itself.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self.state: dict[str, Any] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            self.state = scope["state"]
            await self.app(scope, receive, send)
            return

        async def send_without_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [h for h in message["headers"] if h[0] != b"x-request-id"]
            await send(message)

        scope["state"] = dict(self.state)
        await self.app(scope, receive, send_without_id)


@serve.ingress()
class FrontEnd:
    """Admits, checks and decodes pictures in Ray's way in."""

    def __init__(self, replicas: DeploymentHandle, settings: Settings) -> None:
        set_up_logging(settings.log_format, settings.log_level)
        self._replicas = replicas
        self._settings = settings

    def __serve_build_asgi_app__(self) -> ASGIApp:
        tracing = Tracing(provider_of_environment()) if wanted() else None
        return BehindRay(create_app(self._settings, RayRunner(self._replicas), tracing=tracing))


def app(flags: dict[str, str]) -> serve.Application:
    """The application with settings from ``serve run service.ray_app:app max_queue=64`` and the environment.

    :raises SettingsError: one of them is wrong
    """
    return application(load_settings(flags))


def application(settings: Settings) -> serve.Application:
    """Both deployments, bound to each other.

    :raises SettingsError: it names several devices, or a certain GPU, which are Ray's to give
    """
    if settings.device[0] not in ("auto", "cpu", "cuda") or len(settings.device) > 1:
        raise SettingsError(
            "setting --device (CAPTIONER_DEVICE) is wrong: on Ray each replica of Model has one device, "
            "auto, cpu or cuda; which, and how many replicas there are, Ray and its Serve configuration say"
        )
    if settings.checkpoint != BUNDLED:  # that is where the package is, on each node its own
        settings = settings.model_copy(update={"checkpoint": settings.checkpoint.resolve()})
    on_gpu = settings.device[0] == "cuda"
    batch = settings.max_batch_size or (128 if on_gpu else 16)
    model: Any = serve.deployment(  # typed by Ray as a decorator alone
        ModelReplica,
        name="Model",
        ray_actor_options={"num_cpus": 1, "num_gpus": int(on_gpu)},
        # Admission bounds what is in flight; what waits, waits where batches are made of it.
        max_ongoing_requests=100 * settings.max_queue,  # for that many front ends
        autoscaling_config={
            "min_replicas": 1,
            "max_replicas": 8,
            "target_ongoing_requests": FULL_BATCHES * batch,
        },
        health_check_period_s=2,
        graceful_shutdown_timeout_s=settings.drain_timeout,
    )
    front_end: Any = serve.deployment(
        FrontEnd,
        name="FrontEnd",
        num_replicas=settings.http_workers,
        ray_actor_options={"num_cpus": 0.5},
        max_ongoing_requests=4 * settings.max_queue,  # it answers 429 itself, and health beside that
        graceful_shutdown_timeout_s=settings.drain_timeout,
    )
    bound: serve.Application = front_end.bind(model.bind(settings), settings)
    return bound


def run_service(settings: Settings) -> int:
    """Serve on the cluster of ``RAY_ADDRESS``, or on one of this machine, until Ctrl-C or SIGTERM; exit code.

    :raises SettingsError: see :func:`application`
    :raises StartError: something else has the port, there is no such cluster, or what is deployed fails
    """
    deployed = application(settings)
    with listen(settings) as listener:  # Ray would say neither which port it took nor that it is taken
        port = listener.getsockname()[1]
    own_cluster = "RAY_ADDRESS" not in os.environ
    stopping = threading.Event()

    def stop(*_: object) -> None:
        if stopping.is_set():
            return
        stopping.set()
        raise KeyboardInterrupt  # also out of Ray's waiting

    try:
        ray.init(
            "local" if own_cluster else None,
            log_to_driver=False,
            logging_level=logging.WARNING,
            include_dashboard=False,
        )
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, stop)
        serve.start(proxy_location="EveryNode", http_options={"host": settings.host, "port": port})
        serve.run(deployed, name=NAME, route_prefix="/")
        log.info("listening on http://%s:%d", settings.host, port)
        stopping.wait()
    except KeyboardInterrupt:
        pass
    except (ConnectionError, RuntimeError) as error:
        raise StartError(f"Ray cannot serve: {error}") from None
    finally:
        if ray.is_initialized():
            serve.delete(NAME)  # what else is served on the cluster stays
            if own_cluster:
                serve.shutdown()
            ray.shutdown()
    return os.EX_OK
