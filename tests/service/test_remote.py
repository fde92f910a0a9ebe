"""The front end's side of the wire, against a worker that the test plays itself."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import numpy as np
import pytest
import zmq
import zmq.asyncio

from model.caption import Caption
from model.config import Config
from model.errors import InferenceError
from service.board import Board
from service.errors import DeadlinePassed, WorkerLost
from service.messages import (
    Answered,
    Cancel,
    Failed,
    Hello,
    Ready,
    Stale,
    Submit,
    ToFrontEnd,
    ToWorker,
    decode_to_worker,
    encode,
)
from service.remote import RemoteRunner
from service.runner import ModelChanged, ModelInfo

IDENTITY = "played"
MODEL = ModelInfo(Config(name="played", vocabulary_size=4), "", "cpu", IDENTITY)
PIXELS = np.zeros((224, 224, 3), np.uint8)


class PlayedWorker:
    """A socket that says what the test lets it say."""

    def __init__(self, address: str) -> None:
        self.socket = zmq.asyncio.Context.instance().socket(zmq.ROUTER)
        self.socket.set(zmq.LINGER, 0)
        self.socket.bind(address)
        self.client = b""

    async def receive(self) -> ToWorker:
        self.client, header, *frames = await self.socket.recv_multipart()
        assert all(len(frame) == PIXELS.size for frame in frames)
        return decode_to_worker(header)

    async def send(self, message: ToFrontEnd) -> None:
        await self.socket.send_multipart([self.client, encode(message)])

    async def greet(self) -> None:
        assert isinstance(await self.receive(), Hello)
        await self.send(Ready(MODEL))

    async def receive_submit(self) -> Submit:
        message = await self.receive()
        assert isinstance(message, Submit)
        return message

    async def answer(self, submit: Submit, text: str) -> None:
        await self.send(Answered(submit.id, [Caption(text, -1.0, ())], 0.0, 0.0, 1))

    def die(self) -> None:
        self.socket.close()


@contextlib.asynccontextmanager
async def runner_of(address: str, board: Board | None = None) -> AsyncIterator[RemoteRunner]:
    board = board or Board.private()
    board.beat(0)
    runner = RemoteRunner([address], board, 0, patience_s=10)
    await runner.start()
    try:
        yield runner
    finally:
        await runner.stop()


def soon(seconds: float = 20.0) -> float:
    return time.monotonic() + seconds


def scenario(play: Callable[[str], Awaitable[None]], tmp_path: Path) -> None:
    async def run() -> None:
        async with asyncio.timeout(30):
            await play(f"ipc://{tmp_path}/worker")

    asyncio.run(run())


@pytest.mark.parametrize("running", [True, False])
def test_a_picture_whose_worker_dies_is_sent_once_more(tmp_path: Path, running: bool) -> None:
    async def play(address: str) -> None:
        board = Board.private()
        async with runner_of(address, board) as runner:
            assert runner.state == "loading"
            first = PlayedWorker(address)
            await first.greet()
            caption = asyncio.create_task(runner.caption(PIXELS, IDENTITY, 1, soon()))
            submit = await first.receive_submit()
            assert not submit.alone
            board.set_begun(0, 0, submit.id if running else submit.id - 1)
            first.die()
            second = PlayedWorker(address)
            await second.greet()
            again = await second.receive_submit()
            assert again.alone == running  # what was in the batch that died may be what killed it
            await second.answer(again, "a dog")
            assert (await caption).captions[0].text == "a dog"

    scenario(play, tmp_path)


def test_a_picture_that_loses_two_workers_is_given_up(tmp_path: Path) -> None:
    async def play(address: str) -> None:
        async with runner_of(address) as runner:
            caption = asyncio.create_task(runner.caption(PIXELS, IDENTITY, 1, soon()))
            for _ in range(2):
                worker = PlayedWorker(address)
                await worker.greet()
                await worker.receive_submit()
                worker.die()
            with pytest.raises(WorkerLost):
                await caption
            assert runner.state == "unavailable"

    scenario(play, tmp_path)


def test_a_worker_that_does_not_come_back_in_time_is_lost_not_late(tmp_path: Path) -> None:
    async def play(address: str) -> None:
        async with runner_of(address) as runner:
            worker = PlayedWorker(address)
            await worker.greet()
            caption = asyncio.create_task(runner.caption(PIXELS, IDENTITY, 1, soon(1.0)))
            await worker.receive_submit()
            worker.die()
            with pytest.raises(WorkerLost):
                await caption

    scenario(play, tmp_path)


def test_no_answer_by_the_deadline(tmp_path: Path) -> None:
    async def play(address: str) -> None:
        async with runner_of(address) as runner:
            worker = PlayedWorker(address)
            await worker.greet()
            with pytest.raises(DeadlinePassed):
                await runner.caption(PIXELS, IDENTITY, 1, soon(0.3))
            submit = await worker.receive_submit()
            assert await worker.receive() == Cancel(submit.id)

    scenario(play, tmp_path)


def test_failures_reach_the_caller_they_concern(tmp_path: Path) -> None:
    async def play(address: str) -> None:
        async with runner_of(address) as runner:
            worker = PlayedWorker(address)
            await worker.greet()
            captions = [asyncio.create_task(runner.caption(PIXELS, IDENTITY, 1, soon())) for _ in range(3)]
            first, second, third = [await worker.receive_submit() for _ in range(3)]
            await worker.send(Failed(second.id, "it failed", expired=False))
            await worker.send(Failed(third.id, "too late", expired=True))
            await worker.answer(first, "a cat")
            results = await asyncio.gather(*captions, return_exceptions=True)
            assert results[0].captions[0].text == "a cat"  # type: ignore[union-attr]
            assert isinstance(results[1], InferenceError)
            assert isinstance(results[2], DeadlinePassed)

    scenario(play, tmp_path)


def test_a_cancelled_call_takes_its_picture_out_of_the_queue(tmp_path: Path) -> None:
    async def play(address: str) -> None:
        async with runner_of(address) as runner:
            worker = PlayedWorker(address)
            await worker.greet()
            caption = asyncio.create_task(runner.caption(PIXELS, IDENTITY, 1, soon()))
            submit = await worker.receive_submit()
            caption.cancel()
            assert await worker.receive() == Cancel(submit.id)

    scenario(play, tmp_path)


def test_the_least_loaded_of_several_workers_gets_the_picture(tmp_path: Path) -> None:
    async def play(address: str) -> None:
        addresses = [f"{address}-{n}" for n in range(2)]
        workers = [PlayedWorker(each) for each in addresses]
        board = Board(np.zeros((), Board._layout(1, 2)))
        for n in range(2):
            board.beat(n)
        runner = RemoteRunner(addresses, board, 0, patience_s=10)
        await runner.start()
        for worker in workers:
            await worker.greet()
        while len(runner._ready()) < 2:
            await asyncio.sleep(0.01)
        captions = [asyncio.create_task(runner.caption(PIXELS, IDENTITY, 1, soon())) for _ in range(4)]
        for worker in workers:
            for _ in range(2):
                await worker.answer(await worker.receive_submit(), "a bird")
        await asyncio.gather(*captions)
        await runner.stop()

    scenario(play, tmp_path)


@pytest.mark.parametrize("known", [True, False])
def test_a_picture_for_a_model_that_no_worker_has_is_to_be_decoded_again(tmp_path: Path, known: bool) -> None:
    async def play(address: str) -> None:
        async with runner_of(address) as runner:
            worker = PlayedWorker(address)
            await worker.greet()
            wanted = IDENTITY if known else "another"
            caption = asyncio.create_task(runner.caption(PIXELS, wanted, 1, soon()))
            if known:  # to the front end; the worker has let it go meanwhile
                submit = await worker.receive_submit()
                assert submit.identity == IDENTITY
                await worker.send(Stale(submit.id))
            with pytest.raises(ModelChanged):
                await caption

    scenario(play, tmp_path)
