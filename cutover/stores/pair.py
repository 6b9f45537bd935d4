"""The two stores and their roles. Roles move, stores do not."""

from __future__ import annotations

from dataclasses import dataclass

from cutover.model.control import StoreName
from cutover.stores.base import Member, Store


@dataclass(frozen=True)
class Pair:
    """Who is who at one epoch. A switch makes a new one."""

    primary: Member
    shadow: Member
    epoch: int

    @property
    def source(self) -> Store:
        """Where the mirror reads: the primary's store."""
        return self.primary.store

    @property
    def target(self) -> Store:
        """Where the mirror applies: the shadow's store."""
        return self.shadow.store

    def swapped(self) -> Pair:
        """The pair after a switch."""
        return Pair(primary=self.shadow, shadow=self.primary, epoch=self.epoch + 1)

    def store(self, name: StoreName) -> Store:
        """The store of that name."""
        return self.source if self.source.name == name else self.target
