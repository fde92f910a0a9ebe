"""One picture's way through a front end: admit → decode → queue, batch, device (the runner) → answer."""

from __future__ import annotations

import contextlib
import time

from service.admission import Admission
from service.decode import DecodePool
from service.errors import NotReady
from service.metrics import Metrics
from service.runner import Inference, ModelChanged, Runner
from service.schemas import Alternative, CaptionResult, ModelName, Options, Timing, TokenProbability
from service.tracing import Tracing


class Pipeline:
    """What the routes caption with."""

    def __init__(
        self,
        runner: Runner,
        admission: Admission,
        decoder: DecodePool,
        metrics: Metrics,
        tracing: Tracing | None = None,
    ) -> None:
        self.runner = runner
        self.admission = admission
        self._decoder = decoder
        self._metrics = metrics
        self._tracing = tracing

    async def caption(self, data: bytes, options: Options, started: float, deadline: float) -> CaptionResult:
        """Caption one picture.

        :param started: when its request began; this and ``deadline`` in seconds of :func:`time.monotonic`
        :raises CaptionerError: any of the tree that concerns one picture
        """
        with self.admission.admit(deadline):
            while True:
                model = self.runner.model
                if model is None:
                    raise NotReady("the service is loading")
                decode_started = time.monotonic()
                with self.admission.decoding():
                    alone = self.admission.depth == 1
                    pixels = await self._decoder.decode(data, model.config.preprocessing, deadline, alone)
                decode_s = time.monotonic() - decode_started
                with contextlib.suppress(ModelChanged):
                    inference = await self.runner.caption(pixels, model.identity, options.beam, deadline)
                    break
        stages_s = (decode_s, inference.queue_s, inference.inference_s)
        self._metrics.observe_stages(*stages_s)
        if self._tracing:
            self._tracing.record_stages(*stages_s, inference.batch_size)
        timing = Timing(
            decode_ms=_milliseconds(decode_s),
            queue_ms=_milliseconds(inference.queue_s),
            inference_ms=_milliseconds(inference.inference_s),
            total_ms=_milliseconds(time.monotonic() - started),
            batch_size=inference.batch_size,
        )
        return _result(inference, options, ModelName.of(model.config), timing)


def _milliseconds(seconds: float) -> float:
    return round(seconds * 1000, 2)


def _result(inference: Inference, options: Options, model: ModelName, timing: Timing) -> CaptionResult:
    best, *others = inference.captions
    result = CaptionResult(
        caption=best.text, log_probability=round(best.log_probability, 4), model=model, timing=timing
    )
    if options.n > 1:
        result.alternatives = [
            Alternative(caption=other.text, log_probability=round(other.log_probability, 4))
            for other in others[: options.n - 1]
        ]
    if options.tokens:
        result.tokens = [
            TokenProbability(text=word.text, log_probability=round(word.log_probability, 4))
            for word in best.words
        ]
    return result
