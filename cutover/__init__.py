"""cutover: moves a live application from SQLite to PostgreSQL and back, losing nothing."""

from importlib.metadata import version

__version__ = version("cutover")
