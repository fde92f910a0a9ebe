"""The ``captioner`` command-line program."""
