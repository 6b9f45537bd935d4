"""The ways in which an application writes, each with its own way to learn what became of a transaction."""

from __future__ import annotations

from tests.torture.doors.base import Door, Expected, Rows, Statement, Told
from tests.torture.doors.direct import DirectDoor, OutsideDoor
from tests.torture.doors.front import FrontDoor, InteractiveDoor
from tests.torture.doors.native import NativeDoor

__all__ = [
    "DirectDoor",
    "Door",
    "Expected",
    "FrontDoor",
    "InteractiveDoor",
    "NativeDoor",
    "OutsideDoor",
    "Rows",
    "Statement",
    "Told",
]
