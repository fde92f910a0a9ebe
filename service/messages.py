"""What a front end and a device worker say to each other over ZeroMQ, as MessagePack.

A :class:`Submit` is followed by a second frame, the uint8 pixels.
"""

from __future__ import annotations

import msgspec

from model.caption import Caption
from service.runner import ModelInfo


class Hello(msgspec.Struct, frozen=True, tag=True):
    """Front end → worker: tell me when you are ready."""

    front_end: int
    """Its row on the board."""


class Submit(msgspec.Struct, frozen=True, tag=True):
    """Front end → worker: caption this picture, ``alone`` if it was in a batch that its worker died with.

    ``identity`` is that of the model whose preprocessing made the pixels. Ids are from 1 on, and rise;
    times are seconds of :func:`time.monotonic`, which processes of one machine share."""

    id: int
    identity: str
    beam: int
    deadline: float
    sent: float
    alone: bool


class Cancel(msgspec.Struct, frozen=True, tag=True):
    """Front end → worker: nobody waits for this picture any more."""

    id: int


class Ready(msgspec.Struct, frozen=True, tag=True):
    """Worker → front end: loaded and warm; from now on pictures are for this model."""

    model: ModelInfo


class Answered(msgspec.Struct, frozen=True, tag=True):
    """Worker → front end: the captions of a picture, best first."""

    id: int
    captions: list[Caption]
    queue_s: float
    inference_s: float
    batch_size: int


class Failed(msgspec.Struct, frozen=True, tag=True):
    """Worker → front end: no caption; ``expired`` when its deadline passed in the queue."""

    id: int
    detail: str
    expired: bool


class Stale(msgspec.Struct, frozen=True, tag=True):
    """Worker → front end: the model that this picture was decoded for is not here."""

    id: int


ToWorker = Hello | Submit | Cancel
ToFrontEnd = Ready | Answered | Failed | Stale

encode = msgspec.msgpack.Encoder().encode
decode_to_worker = msgspec.msgpack.Decoder(ToWorker).decode
decode_to_front_end = msgspec.msgpack.Decoder(ToFrontEnd).decode
