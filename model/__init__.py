"""The captioning network and everything that must be the same in training and in serving.

Importing the package loads neither PyTorch nor a checkpoint: HTTP front ends use
:mod:`model.preprocessing` and :mod:`model.config` alone and stay small.
"""

import os

# How long PyTorch's CPU threads spin while they wait for each other before they sleep. With the default a
# second busy process on the same cores costs a lone picture 97 % of its speed; sleeping at once costs it 40 %
# on an idle machine. This costs 8 % there and keeps ten times the default's speed when the cores are shared.
os.environ.setdefault("GOMP_SPINCOUNT", "10000")
