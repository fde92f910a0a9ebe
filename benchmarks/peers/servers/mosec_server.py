"""mosec: the pipeline of its ResNet example, decoding in processes, then batches for the network.

Its arguments are mosec's own: ``--port``, ``--timeout`` in milliseconds.
"""

from __future__ import annotations

import os

from common import DEADLINE_S, MAX_BATCH, caption, decode, load_captioner
from mosec import Server, Worker


class Decode(Worker):
    def deserialize(self, data):
        return bytes(data)  # the body is the picture as it is

    def forward(self, data):
        return decode(data)


class Caption(Worker):
    def __init__(self):
        super().__init__()
        self.captioner = load_captioner()

    def forward(self, data):
        return [{"caption": text} for text in caption(self.captioner, data)]


if __name__ == "__main__":
    server = Server()
    server.append_worker(Decode, num=os.cpu_count())
    server.append_worker(Caption, max_batch_size=MAX_BATCH, max_wait_time=10, timeout=DEADLINE_S)
    server.run()
