"""Optuna: studies, trials, parameters and values of every kind, by Optuna's own storage."""

from __future__ import annotations

import optuna

from tests.frameworks.obeying import DATABASE, Reading, obey
from tests.zoo.applications.connecting import sqlalchemy_url

optuna.logging.set_verbosity(optuna.logging.ERROR)


class Optuna:
    """Optuna on one database."""

    def __init__(self) -> None:
        self.storage: optuna.storages.RDBStorage | None = None

    def migrate(self) -> None:
        """Optuna makes its tables when it opens its storage."""
        self.storage = optuna.storages.RDBStorage(sqlalchemy_url(DATABASE))

    def seed(self) -> None:
        """Studies with trials."""
        self.write(0)

    def write(self, turn: int) -> None:
        """A study that is optimised, one with two goals, one that is deleted."""
        study = optuna.create_study(storage=self.storage, study_name=f"study {turn}", direction="maximize")
        study.set_user_attr("ü", {"list": [1, None, 2.5]})
        study.optimize(_objective, n_trials=12, catch=(ValueError,))
        both = optuna.create_study(
            storage=self.storage, study_name=f"two goals {turn}", directions=["minimize", "maximize"]
        )
        both.optimize(lambda trial: (trial.suggest_float("x", 1e-300, 1e300, log=True), 1.0), n_trials=4)
        both.enqueue_trial({"x": 1.0})
        optuna.create_study(storage=self.storage, study_name="passing").add_trial(
            optuna.trial.create_trial(value=float("inf"))
        )
        optuna.delete_study(study_name="passing", storage=self.storage)

    def read(self) -> Reading:
        """Every study and trial as Optuna tells them."""
        assert self.storage is not None
        self.storage.remove_session()
        found: Reading = {"study": {}, "trial": {}}
        for name in optuna.get_all_study_names(self.storage):
            study = optuna.load_study(study_name=name, storage=self.storage)
            found["study"][name] = repr((study.directions, study.user_attrs))
            found["trial"] |= {f"{name} {trial.number}": repr(trial) for trial in study.trials}
        return found


def _objective(trial: optuna.Trial) -> float:
    x = trial.suggest_float("x", -10, 10)
    n = trial.suggest_int("n", 1, 10)
    kind = trial.suggest_categorical("kind", ["a", "ü", None, 1.5, True])
    for step in range(3):
        trial.report([x, float("inf"), float("nan")][step], step)
    trial.set_user_attr("note", {"kind": kind})
    if trial.number == 3:
        raise ValueError("a trial that fails")
    if trial.number == 4:
        raise optuna.TrialPruned
    return x * n


obey(Optuna())
