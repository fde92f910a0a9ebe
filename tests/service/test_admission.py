"""Overload, deadlines and clients that go away, over real sockets with a slow fake runner."""

from __future__ import annotations

import asyncio
import select
import socket
import time
from collections import Counter
from pathlib import Path

import httpx

from service.app import create_app
from service.board import Board
from service.settings import Settings
from tests.pictures import picture
from tests.service.fakes import FakeRunner, on_a_port
from tests.service.test_caption import assert_problem


def test_beyond_the_queue_limit_requests_get_429_and_nothing_is_lost() -> None:
    runner = FakeRunner(seconds=0.2)
    board = Board.private()
    body = picture()

    async def send_200(url: str) -> list[httpx.Response]:
        async with httpx.AsyncClient(limits=httpx.Limits(max_connections=200), timeout=30) as http:
            posts = (http.post(f"{url}/caption", files={"image": body}) for _ in range(200))
            return await asyncio.gather(*posts)

    with on_a_port(create_app(Settings(max_queue=4), runner, board)) as url:
        responses = asyncio.run(send_200(url))
        statuses = Counter(response.status_code for response in responses)
        assert statuses.keys() == {200, 429}
        assert statuses[200] == runner.seen
        assert runner.most_at_once <= 4
        for response in responses:
            if response.status_code == 429:
                assert_problem(response, 429, "queue-full")
                assert int(response.headers["retry-after"]) >= 1
        assert board.admitted == 0
        metrics = httpx.get(f"{url}/metrics").text
        assert f'captioner_rejected_total{{reason="queue-full"}} {statuses[429]}.0' in metrics


def test_retry_after_follows_depth_and_pace() -> None:
    board = Board.private()
    board.record_pace(0, 4.0, 8)
    board.add_admitted(0, 8)
    with on_a_port(create_app(Settings(max_queue=8), FakeRunner(), board)) as url:
        response = httpx.post(f"{url}/caption", files={"image": picture()})
        assert_problem(response, 429, "queue-full")
        assert response.headers["retry-after"] == "4"  # 8 pictures of half a second


def test_who_would_come_too_late_gets_429_before_it_is_sent() -> None:
    board = Board.private()
    board.record_pace(0, 8.0, 16)
    with on_a_port(create_app(Settings(request_timeout=10), FakeRunner(), board)) as url:
        board.add_admitted(0, 4)  # 2 s, and as much for a batch of 5
        assert httpx.post(f"{url}/caption", files={"image": picture()}).status_code == 200
        board.add_admitted(0, 12)  # 8 s
        response = httpx.post(f"{url}/caption", files={"image": picture()})
        assert_problem(response, 429, "queue-full")
        assert response.headers["retry-after"] == "8"
        assert 'captioner_rejected_total{reason="too-slow"} 1.0' in httpx.get(f"{url}/metrics").text


def test_one_slow_batch_does_not_shut_the_door() -> None:
    board = Board.private()
    board.record_pace(0, 1.0, 16)
    board.record_pace(0, 10.0, 1)
    with on_a_port(create_app(Settings(request_timeout=10), FakeRunner(), board)) as url:
        assert httpx.post(f"{url}/caption", files={"image": picture()}).status_code == 200  # nobody waits
        board.add_admitted(0, 16)
        assert httpx.post(f"{url}/caption", files={"image": picture()}).status_code == 429
        for _ in range(2):
            board.record_pace(0, 1.0, 16)
        assert httpx.post(f"{url}/caption", files={"image": picture()}).status_code == 200


def test_a_worker_that_is_gone_does_not_count(tmp_path: Path) -> None:
    board = Board.create(tmp_path / "board", front_ends=1, workers=2)
    for worker in (0, 1):
        board.beat(worker)
        board.record_pace(worker, 1.0, 1)
    board.add_admitted(0, 6)
    assert board.queue_s == 3.0
    board.forget_worker(1)
    assert board.queue_s == 6.0


def test_several_pictures_are_counted_one_by_one() -> None:
    runner = FakeRunner(seconds=0.3)
    with on_a_port(create_app(Settings(max_queue=3), runner)) as url:
        results = httpx.post(f"{url}/captions", files=[("images", picture(n)) for n in range(5)]).json()[
            "results"
        ]
    assert [result.get("error", {}).get("status", 200) for result in results] == [200, 200, 200, 429, 429]


def test_a_passed_deadline_is_504() -> None:
    board = Board.private()
    with on_a_port(create_app(Settings(request_timeout=2), FakeRunner(seconds=60), board)) as url:
        started = time.monotonic()
        assert_problem(httpx.post(f"{url}/caption", files={"image": picture()}), 504, "deadline-passed")
        assert time.monotonic() - started >= 2
        assert board.admitted == 0


def test_a_client_that_goes_away_takes_its_picture_along() -> None:
    runner = FakeRunner(seconds=60)
    board = Board.private()
    with on_a_port(create_app(Settings(request_timeout=60), runner, board)) as url:
        for route, field in (("caption", "image"), ("captions", "images")):
            runner.seen = runner.cancelled = 0
            with httpx.Client(timeout=2) as http:
                try:
                    http.post(f"{url}/{route}", files={field: picture()})
                except httpx.ReadTimeout:
                    pass
                else:
                    raise AssertionError("the answer came too soon")
            until = time.monotonic() + 60
            while not runner.cancelled and time.monotonic() < until:
                time.sleep(0.02)
            assert (runner.seen, runner.cancelled) == (1, 1)
            assert board.admitted == 0


def test_liveness_answers_while_pictures_wait() -> None:
    async def run(url: str) -> list[int]:
        async with httpx.AsyncClient(timeout=30, limits=httpx.Limits(max_connections=100)) as http:
            waiting = [
                asyncio.create_task(http.post(f"{url}/caption", files={"image": picture()}))
                for _ in range(50)
            ]
            await asyncio.sleep(0.2)
            answers = [await http.get(f"{url}/health/live") for _ in range(5)]
            assert not any(task.done() for task in waiting)
            await asyncio.gather(*waiting)
            return [answer.status_code for answer in answers]

    with on_a_port(create_app(Settings(), FakeRunner(seconds=4))) as url:
        assert asyncio.run(run(url)) == [200] * 5


def test_draining_refuses_new_pictures_and_answers_accepted_ones() -> None:
    board = Board.private()

    async def run(url: str) -> None:
        async with httpx.AsyncClient(timeout=30) as http:
            accepted = asyncio.create_task(http.post(f"{url}/caption", files={"image": picture()}))
            while not board.admitted:
                await asyncio.sleep(0.01)
            board.drain()
            health = await http.get(f"{url}/health")
            assert (health.status_code, health.json()["status"]) == (503, "draining")
            assert_problem(await http.post(f"{url}/caption", files={"image": picture()}), 503, "not-ready")
            assert (await accepted).status_code == 200

    with on_a_port(create_app(Settings(), FakeRunner(seconds=1), board)) as url:
        asyncio.run(run(url))


def test_uploads_take_no_more_memory_than_there_is_for_them() -> None:
    head = b"POST /caption HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\nContent-Length: 1000\r\n\r\n"
    with on_a_port(create_app(Settings(max_upload_bytes=1000), FakeRunner())) as url:
        address = ("127.0.0.1", int(url.rsplit(":", 1)[1]))
        clients = [socket.create_connection(address, timeout=10) for _ in range(50)]
        try:
            for client in clients:
                client.sendall(head + b"x" * 900)
            waiting = list(clients)
            until = time.monotonic() + 60
            while time.monotonic() < until and len(waiting) > 40:
                for client in select.select(waiting, [], [], 0.5)[0]:
                    assert client.recv(65536).startswith(b"HTTP/1.1 429 ")
                    waiting.remove(client)
            assert len(waiting) == 40  # 36 times the largest size holds 40 of these
            assert not select.select(waiting, [], [], 0.2)[0]
            assert httpx.get(f"{url}/health").status_code == 200
        finally:
            for client in clients:
                client.close()
        until = time.monotonic() + 60
        while (
            httpx.post(f"{url}/caption", content=b"x", headers={"Content-Type": "image/png"}).status_code
            == 429
        ):
            assert time.monotonic() < until
