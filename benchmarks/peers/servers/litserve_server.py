"""LitServe: a form's file goes to the worker, which decodes a batch in threads, then captions it."""

from __future__ import annotations

import os
import sys
from concurrent.futures import ThreadPoolExecutor

import litserve
from common import DEADLINE_S, MAX_BATCH, caption, decode, load_captioner


class CaptionAPI(litserve.LitAPI):
    def setup(self, device):
        self.captioner = load_captioner()
        self.threads = ThreadPoolExecutor(os.cpu_count())

    def decode_request(self, request):
        return request["image"].file.read()

    def batch(self, inputs):
        return list(self.threads.map(decode, inputs))

    def predict(self, pixels):
        return caption(self.captioner, pixels)

    def unbatch(self, output):
        return output

    def encode_response(self, output):
        return {"caption": output}


if __name__ == "__main__":
    api = CaptionAPI(max_batch_size=MAX_BATCH, batch_timeout=0.01)
    server = litserve.LitServer(api, accelerator="cpu", timeout=DEADLINE_S)
    server.run(
        host="127.0.0.1",
        port=int(sys.argv[1]),
        num_api_servers=1,
        log_level="warning",
        generate_client_file=False,
    )
