"""Prometheus metrics. With ``PROMETHEUS_MULTIPROC_DIR`` set, all processes of the service add up in them."""

from __future__ import annotations

import os
from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest, values
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from service.board import Board

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
BATCH_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)

_PROCESS = os.getpid()
if "PROMETHEUS_MULTIPROC_DIR" in os.environ:  # no process of ours forks: which it is need be asked but once
    values.ValueClass = values.MultiProcessValue(lambda: _PROCESS)


class Metrics:
    """This process's share of the service's metrics."""

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        self.requests = Counter(
            "captioner_requests", "Requests answered.", ["route", "code"], registry=registry
        )
        self.request_seconds = Histogram(
            "captioner_request_seconds",
            "Seconds from a request's complete head to its answer's last byte.",
            ["route"],
            buckets=SECONDS,
            registry=registry,
        )
        self.stage_seconds = Histogram(
            "captioner_stage_seconds",
            "Seconds a picture spent in each stage.",
            ["stage"],
            buckets=SECONDS,
            registry=registry,
        )
        self.batch_size = Histogram(
            "captioner_batch_size", "Pictures in a batch.", buckets=BATCH_SIZES, registry=registry
        )
        self.batches = Counter(
            "captioner_batches",
            "Batches by why they left: full, idle (device), waited, alone (a retry).",
            ["reason"],
            registry=registry,
        )
        self.rejected = Counter("captioner_rejected", "Pictures turned away.", ["reason"], registry=registry)
        # Looked up once: for each request labels() would make strings and take a lock.
        self._stages = [self.stage_seconds.labels(stage) for stage in ("decode", "queue", "inference")]
        self._routes: dict[tuple[str, int], tuple[Counter, Histogram]] = {}

    def observe_request(self, route: str, status: int, seconds: float) -> None:
        """:param route: a route's path as the application declares it, so that there are few"""
        if (route, status) not in self._routes:
            counter = self.requests.labels(route, str(status))
            self._routes[route, status] = counter, self.request_seconds.labels(route)
        counter, histogram = self._routes[route, status]
        counter.inc()
        histogram.observe(seconds)

    def observe_stages(self, *seconds: float) -> None:
        """Seconds of one picture's decoding, queue and inference."""
        for stage, value in zip(self._stages, seconds, strict=True):
            stage.observe(value)

    def observe_batch(self, size: int, reason: str) -> None:
        self.batch_size.observe(size)
        self.batches.labels(reason).inc()

    def render(self, board: Board) -> bytes:
        """All processes' metrics in Prometheus's text format, and what stands on the board."""
        registry = self._registry
        if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
            registry = CollectorRegistry()
            MultiProcessCollector(registry)
        of_board = CollectorRegistry()
        of_board.register(_BoardCollector(board))
        return generate_latest(registry) + generate_latest(of_board)


class _BoardCollector(Collector):
    def __init__(self, board: Board) -> None:
        self._board = board

    def collect(self) -> Iterator[Metric]:
        depth = "Pictures admitted and not yet answered."
        yield GaugeMetricFamily("captioner_queue_depth", depth, self._board.admitted)
        restarts = "Device workers restarted."
        yield CounterMetricFamily("captioner_worker_restarts", restarts, self._board.restarts)
        workers = GaugeMetricFamily("captioner_workers", "Device workers by state.", labels=["state"])
        states = self._board.worker_states
        for state in ("loading", "ready", "silent"):
            workers.add_metric([state], states.count(state))
        yield workers
