"""Workloads with known answers, by name."""

from __future__ import annotations

from tests.torture.workloads.bank import Bank
from tests.torture.workloads.base import Workload
from tests.torture.workloads.handles import Handles
from tests.torture.workloads.journal import Journal
from tests.torture.workloads.keys import Keys
from tests.torture.workloads.lists import Lists
from tests.torture.workloads.rewrites import Rewrites
from tests.torture.workloads.sets import Sets

WORKLOADS: dict[str, type[Workload]] = {
    each.name: each for each in (Bank, Lists, Sets, Handles, Keys, Rewrites, Journal)
}
