"""The only way by which applications' statements reach the primary, and the place where a switch makes them wait."""

from cutover.write_through.errors import HeldTooLong, ShuttingDown
from cutover.write_through.primary import Begun
from cutover.write_through.shapes import Ended
from cutover.write_through.stream import Stream
from cutover.write_through.way import WriteThrough

__all__ = ["Begun", "Ended", "HeldTooLong", "ShuttingDown", "Stream", "WriteThrough"]
