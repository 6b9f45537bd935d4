"""The high-water mark: how far this pair has ever been, kept beside the stores so that an old copy is recognised."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from cutover.errors import ConfigurationError
from cutover.model.control import Control


@dataclass(frozen=True)
class HighWater:
    """The furthest point that this state directory has seen."""

    pair_id: str
    epoch: int
    batch: int


def read_high_water(path: Path) -> HighWater | None:
    """The recorded mark, None if there is none. Raises `ConfigurationError` if the file is damaged."""
    try:
        return HighWater(**json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
    except (ValueError, TypeError) as error:
        raise ConfigurationError(
            f"The high-water mark {path} is damaged ({error}).",
            hint="Compare the epochs of both stores by hand; if they agree, remove the file and start again.",
        ) from None


def write_high_water(path: Path, mark: HighWater) -> None:
    """Replace the mark durably: a crash leaves the old or the new one, never half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(".new")
    with draft.open("w", encoding="utf-8") as file:
        json.dump(asdict(mark), file)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)


OLD_COPY = (
    "Put back the file that was in use. If to go back to this copy is what you want: start it with a new state_dir "
    "and an empty Postgres database, then `cutover backfill --new-target`."
)
"""What to do about an old copy of the SQLite file."""


def refuse_old_copy(mark: HighWater | None, control: Control) -> None:
    """Raises `ConfigurationError` if the SQLite file is older than what this state directory has seen (hazard 6)."""
    if mark is None:
        return
    epoch = control.epoch
    if mark.pair_id != control.pair_id:
        raise ConfigurationError(
            "The SQLite file belongs to another pair than this state directory.",
            hint="Use the state_dir that belongs to the file, or a new one for a new migration.",
        )
    if epoch < mark.epoch:
        raise ConfigurationError(
            f"The SQLite file is an old copy: it is at epoch {epoch}, and epoch {mark.epoch} was reached already.",
            hint=OLD_COPY,
        )
    if control.primary == "sqlite" and epoch == mark.epoch and control.trimmed_batch < mark.batch:
        raise ConfigurationError(
            f"The SQLite file is an old copy: it remembers batch {control.trimmed_batch}, and batch {mark.batch} was "
            "reached already.",
            hint=OLD_COPY,
        )
