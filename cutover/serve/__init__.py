"""The composition root: settings → stores → parts → services. Nothing is built anywhere else, or at import time.

owner's lock ─▶ SQLite ─▶ audit log ─▶ recovery from SQLite alone ─▶ both listeners
                                             └─▶ (in the background) Postgres ─▶ attach ─▶ mirror, comparator
"""

from cutover.serve.process import run

__all__ = ["run"]
