"""The captioning network and everything that must be the same in training and in serving.

Importing the package loads neither PyTorch nor a checkpoint: HTTP front ends use
:mod:`model.preprocessing` and :mod:`model.config` alone and stay small.
"""

import os

# PyTorch's CPU threads otherwise spin while they wait for each other; where something else wants the cores
# too (decoding, a training run, another container) that costs up to thirty times the work itself.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
