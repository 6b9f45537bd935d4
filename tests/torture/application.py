"""An application with the file open, in a process of its own that may be killed.

python -m tests.torture.application FILE      takes transactions as lines of JSON, and answers so
"""

from __future__ import annotations

import json
import random
import sys
from dataclasses import asdict

from tests.torture.doors.base import Statement
from tests.torture.doors.direct import DirectDoor


def main() -> None:
    """Until standard input ends."""
    door = DirectDoor(sys.argv[1], random.Random())
    for line in sys.stdin:
        asked = json.loads(line)
        door.rng.seed(asked["seed"])
        door.draw()
        statements = tuple(Statement(sql, tuple(args)) for sql, args in asked["statements"])
        print(json.dumps(asdict(door.transact(statements, tuple(asked["expect"])))), flush=True)


if __name__ == "__main__":
    main()
