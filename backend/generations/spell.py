"""Work for a while: it ends when there is no more reason for it, or after a minute, whichever is first."""

import time
from collections.abc import Callable

SPELL_S = 60.0
"""Seconds after which it is over in any case."""

LOOK_S = 2.0
"""Seconds between two looks whether there is still a reason."""


class Spell:
    """Runs while ``going`` says so, asked every few seconds, for a minute at most."""

    def __init__(self, going: Callable[[], bool]) -> None:
        self._going = going
        self._until = time.monotonic() + SPELL_S
        self._again_at = time.monotonic() + LOOK_S
        self._over = False

    def over(self) -> bool:
        """Whether it is over; asked by several threads."""
        now = time.monotonic()
        if not self._over and now >= self._again_at:
            self._again_at = now + LOOK_S
            self._over = now >= self._until or not self._going()
        return self._over
