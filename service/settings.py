"""The one settings object: each field is a variable ``CAPTIONER_NAME`` and the flag ``--name``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from model.config import BUNDLED, MAX_IMAGE_PIXELS, EngineName, Precision
from model.errors import CaptionerError

PREFIX = "CAPTIONER_"


class SettingsError(CaptionerError):
    """A setting has a value it cannot have; the message names the setting."""

    code = "settings"


def _split(value: Any) -> Any:
    return (
        tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value
    )


def _devices(value: tuple[str, ...]) -> tuple[str, ...]:
    for name in value:
        kind, _, index = name.partition(":")
        if kind not in ("auto", "cpu", "cuda") or (":" in name and not (kind == "cuda" and index.isdigit())):
            raise ValueError(f"{name!r} is no device: auto, cpu, cuda or cuda:1, or several with commas")
    if not value:
        raise ValueError("names no device")
    return value


CommaSeparated = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)]


class Settings(BaseSettings):
    """Settings of ``captioner serve``. Flags win over the environment."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="forbid")

    host: str = Field("127.0.0.1", description="Address to listen on; 0.0.0.0 in containers.")
    port: int = Field(8000, ge=0, le=65535, description="Port to listen on; 0 takes any free one.")
    checkpoint: Path = Field(BUNDLED, description="Checkpoint folder; the bundled one unless given.")
    device: Annotated[CommaSeparated, AfterValidator(_devices)] = Field(
        ("auto",), description="auto, cpu, cuda, cuda:1, or several, comma-separated: one worker each."
    )
    engine: EngineName | Literal["ray"] = Field(
        "auto",
        description="What runs the network: torch, openvino (CPU only), or auto: the faster one; or ray: the "
        "service on a Ray cluster, each of its models with auto.",
    )
    precision: Precision = Field(
        "auto",
        description="How the network is computed: in float32, bfloat16 (OpenVINO, or a GPU), int8 (OpenVINO "
        "on a CPU with VNNI, a checkpoint that was calibrated), or auto: bfloat16 where CPU or GPU has it.",
    )
    http_workers: int = Field(1, ge=1, le=64, description="Front-end processes sharing the device workers.")
    max_batch_size: int = Field(
        0,
        ge=0,
        le=1024,
        description="Pictures in a batch at most; 0 suits the device: 16 on CPU, 128 on GPU.",
    )
    max_queue: int = Field(256, ge=1, description="Pictures admitted and not yet answered; beyond it 429.")
    request_timeout: float = Field(10.0, gt=0, description="Seconds a request may take, its upload included.")
    max_upload_bytes: int = Field(10 * 2**20, ge=1, description="Bytes of one picture at most.")
    max_image_pixels: int = Field(MAX_IMAGE_PIXELS, ge=1, description="Pixels of one picture at most.")
    drain_timeout: float = Field(15.0, ge=0, description="Seconds that accepted work has to end at a stop.")
    api_keys: CommaSeparated = Field((), repr=False, description="Keys, comma-separated; empty: open to all.")
    cors_origins: CommaSeparated = Field(
        (), description="Origins whose pages may call, comma-separated; empty: none."
    )
    log_format: Literal["text", "json"] = Field("text", description="text or json.")
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="debug, info, warning or error."
    )

    @property
    def network_engine(self) -> EngineName:
        """What a device worker runs the network with."""
        return "auto" if self.engine == "ray" else self.engine


def load_settings(flags: Mapping[str, Any]) -> Settings:
    """Settings from flags (those that are not None) over the environment over defaults.

    :raises SettingsError: one sentence that names the first wrong setting
    """
    try:
        return Settings(**{name: value for name, value in flags.items() if value is not None})
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0])
        reason = first["msg"].removeprefix("Value error, ")
        raise SettingsError(
            f"setting --{name.replace('_', '-')} ({PREFIX}{name.upper()}) is wrong: {reason}"
        ) from None
