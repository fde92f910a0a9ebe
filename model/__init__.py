"""The captioning network and everything that must be the same in training and in serving.

Importing the package loads neither PyTorch nor a checkpoint: HTTP front ends use
:mod:`model.preprocessing` and :mod:`model.config` alone and stay small.
"""
