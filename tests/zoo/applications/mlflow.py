"""MLflow: experiments, runs, metrics, models, by its own client; its tables by its own migrations."""

from __future__ import annotations

import os

os.environ["MLFLOW_WEBHOOK_SECRET_ENCRYPTION_KEY"] = "Y3V0b3ZlciBuZWVkcyAzMiBieXRlcyBmb3IgdGhpcyE="  # nobody's

from mlflow.entities import Metric, Param, RunTag
from mlflow.store.db.base_sql_model import Base
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
from mlflow.tracking import MlflowClient

from tests.frameworks.obeying import DATABASE, Reading, obey
from tests.zoo.applications.connecting import sqlalchemy_url
from tests.zoo.applications.filling import Filler

_URL = sqlalchemy_url(DATABASE)


class MlFlow:
    """MLflow's store."""

    def __init__(self) -> None:
        self.client: MlflowClient | None = None
        self.filler: Filler | None = None

    def migrate(self) -> None:
        """As its server does when it starts."""
        engine = SqlAlchemyStore(_URL, "/tmp/artifacts").engine
        self.client = MlflowClient(tracking_uri=_URL, registry_uri=_URL)
        self.filler = Filler(engine, Base.metadata, {".workspace": lambda _: "default"})

    def seed(self) -> None:
        """Rows in every table."""
        self.write(0)

    def write(self, turn: int) -> None:
        """Experiments with runs and metrics (NaN and infinity too), registered models; then rows everywhere."""
        client = self.client
        assert client is not None
        assert self.filler is not None
        experiment = client.create_experiment(f"experiment ü {turn}", tags={"a": "b"})
        for number in range(3):
            run = client.create_run(experiment, run_name=f"run {number}")
            values = (0.1, float("nan"), float("inf"), -1e300, 2.0)
            client.log_batch(
                run.info.run_id,
                metrics=[Metric("loss", value, 1_700_000_000_000 + step, step) for step, value in enumerate(values)],
                params=[Param("p", "x" * 400), Param("empty", "")],
                tags=[RunTag("t", "日本")],
            )
            client.set_terminated(run.info.run_id, ["FINISHED", "FAILED", "KILLED"][number])
        client.delete_run(run.info.run_id)
        client.create_registered_model(f"model {turn}", tags={"k": "v"}, description="")
        client.rename_experiment(experiment, f"renamed {turn}")
        self.filler.write(turn)

    def read(self) -> Reading:
        """Every row of every table."""
        assert self.filler is not None
        return self.filler.read()


obey(MlFlow())
