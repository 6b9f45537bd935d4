"""Prefect: flows, runs, states, logs by its own models; its tables by its own migrations, which differ by store."""

from __future__ import annotations

import asyncio
import datetime as dt
import os
import uuid
from typing import Any

from tests.frameworks.obeying import DATABASE, Reading, obey
from tests.zoo.applications.connecting import sqlalchemy_url

os.environ["PREFECT_API_DATABASE_CONNECTION_URL"] = sqlalchemy_url(DATABASE, "sqlite+aiosqlite", "postgresql+asyncpg")
os.environ["PREFECT_HOME"] = os.getcwd()

import sqlalchemy as sa
from prefect.server import models, schemas
from prefect.server.database import provide_database_interface
from prefect.server.database.orm_models import Base

from tests.zoo.applications.filling import Filler

_VALUES = {
    "Timestamp": lambda n: dt.datetime(2024, 2, 29, 1, 2, 3, n % 3 * 1001, tzinfo=dt.UTC) + dt.timedelta(hours=n),
    "UUID": lambda n: uuid.UUID(int=n + 1),
    "JSON": lambda n: {"n": n, "list": [None, "ü", 1.5]},
    "Pydantic": lambda _: None,
}


class Prefect:
    """Prefect's database."""

    def __init__(self) -> None:
        engine = sa.create_engine(sqlalchemy_url(DATABASE))
        self.filler = Filler(engine, Base.metadata, _VALUES)
        self.loop = asyncio.new_event_loop()

    def migrate(self) -> None:
        """As `prefect server database upgrade` does."""
        self.loop.run_until_complete(provide_database_interface().create_db())

    def seed(self) -> None:
        """Rows in every table."""
        self.write(0)

    def write(self, turn: int) -> None:
        """Flows with runs in many states; then rows everywhere."""
        self.loop.run_until_complete(_flows(turn))
        self.filler.write(turn)

    def read(self) -> Reading:
        """Every row of every table."""
        return self.filler.read()


async def _flows(turn: int) -> None:
    database = provide_database_interface()
    states: list[Any] = [schemas.states.Running, schemas.states.Completed, schemas.states.Failed]
    async with database.session_context(begin_transaction=True) as session:
        flow = await models.flows.create_flow(session, schemas.core.Flow(name=f"flow {turn}", tags=["a", "ü"]))
        for number in range(4):
            run = await models.flow_runs.create_flow_run(
                session,
                schemas.core.FlowRun(flow_id=flow.id, name=f"run {number}", parameters={"x": [1.5, None]}, tags=["t"]),
            )
            for state in states[:number]:
                await models.flow_runs.set_flow_run_state(session, run.id, state(message="ü"), force=True)
            await models.flow_runs.update_flow_run(
                session, run.id, schemas.actions.FlowRunUpdate(tags=["changed", str(turn)])
            )
        await models.flow_runs.delete_flow_run(session, run.id)


obey(Prefect())
