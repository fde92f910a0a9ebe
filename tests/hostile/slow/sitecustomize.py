"""On PYTHONPATH of the real service: its device worker's model then takes a quarter of a second a picture."""

from __future__ import annotations

import sys
import time

if "service.worker" in sys.orig_argv:
    from model.captioner import Captioner

    begin = Captioner.begin

    def slow(self, pixels, beams):
        time.sleep(len(pixels) / 4)
        results = begin(self, pixels[:1], beams[:1])()
        return lambda: results * len(pixels)

    Captioner.begin = slow
