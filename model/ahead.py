"""Makes the bundled model's graphs for OpenVINO where an installation keeps them, so that no start has to.

python -m model.ahead
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from model.captioner import Captioner
from model.config import BUNDLED

if __name__ == "__main__":
    os.environ["XDG_CACHE_HOME"] = str(Path(sys.prefix) / "share")
    Captioner.load(BUNDLED, engine="openvino")
