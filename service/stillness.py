"""How the supervisor tells that a process shows no life."""

from __future__ import annotations

CHECK_S = 0.25


class Stillness:
    """For how long a sign of life has not changed, counted in looks at it and not by the clock.

    When the machine or the container was frozen, or is so loaded that the supervisor itself seldom runs,
    nobody had a chance to show life: by the clock, all would have been silent at once.
    """

    def __init__(self) -> None:
        self._sign = 0.0
        self._looks = 0

    def look(self, sign: float) -> float:
        """To be called every :data:`CHECK_S`; gives seconds. 0 is no sign, and never still."""
        self._looks = self._looks + 1 if sign and sign == self._sign else 0
        self._sign = sign
        return self._looks * CHECK_S
