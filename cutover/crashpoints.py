"""Named places where a test may have the process die by SIGKILL, to prove that recovery works from there.

Off unless `CUTOVER_CRASH_POINT` names a point (`name` or `name:N` for its N-th passage). A point costs one comparison.
"""

from __future__ import annotations

import os
import signal

_name, _, _nth = os.environ.get("CUTOVER_CRASH_POINT", "").partition(":")
_left = int(_nth or 1)


def crash_point(name: str) -> None:
    """Die here if this point is armed. Names are `area.place`, such as `mirror.applied`."""
    if name == _name:
        _die()


def _die() -> None:
    global _left  # noqa: PLW0603  # process-wide countdown
    _left -= 1
    if _left <= 0:
        os.kill(os.getpid(), signal.SIGKILL)
