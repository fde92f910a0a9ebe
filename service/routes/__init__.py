"""The HTTP routes. They are thin: the work is in :mod:`service.pipeline`."""
