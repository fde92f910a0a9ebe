"""Ray Serve: one replica with all cores; @serve.batch; the work in threads beside its loop."""

from __future__ import annotations

import asyncio
import os
import sys
from concurrent.futures import ThreadPoolExecutor

import ray
from common import DEADLINE_S, MAX_BATCH, caption, decode, load_captioner
from ray import serve
from starlette.requests import Request


# A replica must be let have more requests at once than the 5 it has by itself, or no batch fills.
@serve.deployment(ray_actor_options={"num_cpus": os.cpu_count()}, max_ongoing_requests=256)
class Caption:
    def __init__(self):
        self.captioner = load_captioner()
        self.network_thread = ThreadPoolExecutor(1)

    @serve.batch(max_batch_size=MAX_BATCH, batch_wait_timeout_s=0.01)
    async def caption_batch(self, pixels):
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self.network_thread, caption, self.captioner, pixels)

    async def __call__(self, request: Request):
        pixels = await asyncio.to_thread(decode, await request.body())
        return {"caption": await self.caption_batch(pixels)}


if __name__ == "__main__":
    ray.init(num_cpus=os.cpu_count(), include_dashboard=False)
    http = serve.HTTPOptions(host="127.0.0.1", port=int(sys.argv[1]), request_timeout_s=DEADLINE_S)
    serve.start(http_options=http)
    serve.run(Caption.bind(), blocking=True)
