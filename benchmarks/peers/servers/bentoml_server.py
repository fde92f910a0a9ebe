"""BentoML: one batchable endpoint that takes the form's files; served by ``bentoml serve``."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import bentoml
from common import DEADLINE_S, MAX_BATCH, caption, decode, load_captioner


@bentoml.service(traffic={"timeout": DEADLINE_S}, workers=1)
class CaptionService:
    def __init__(self) -> None:
        self.captioner = load_captioner()
        self.threads = ThreadPoolExecutor(os.cpu_count())

    @bentoml.api(batchable=True, max_batch_size=MAX_BATCH, max_latency_ms=1000 * DEADLINE_S)
    def caption(self, images: list[Path]) -> list[str]:
        return caption(self.captioner, list(self.threads.map(decode, images)))
