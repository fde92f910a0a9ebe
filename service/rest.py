"""What a process does when it has had nothing to do for a while: it gives back the memory that work left."""

from __future__ import annotations

from model.memory import give_back

REST_S = 5.0


class Rest:
    """Looks now and then whether there is work; the memory goes back once after each spell of it."""

    def __init__(self, look_s: float) -> None:
        """:param look_s: seconds between two looks"""
        self._patience = round(REST_S / look_s)
        self._looks = self._patience  # without work; nothing was done yet

    def look(self, busy: bool) -> None:
        """To be called every ``look_s``; work that begins and ends between two looks is little."""
        self._looks = 0 if busy else self._looks + 1
        if self._looks == self._patience:
            give_back()
