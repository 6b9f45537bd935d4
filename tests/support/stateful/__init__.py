"""Random programs of writes and switches, played on the real service and on a model, which must agree.

strategies ─▶ Program(schema, beginning, steps) ─▶ Player ─┬─▶ Service   the real one, in a process of its own
              printed as it is, to be played again         ├─▶ the file  another connection, another process
                                                           ├─▶ Postgres  a native client
                                                           └─▶ Model     SQLite in memory: what should be there
"""

import pytest

for _name in ("player", "writes"):
    pytest.register_assert_rewrite(f"{__name__}.{_name}")
