"""Make a SQLite file (and an audit log) in the shape of the HumanOnly application."""

from __future__ import annotations

import argparse
import sqlite3
import sys
from pathlib import Path

from cutover.cli.demo_data import generate, write_audit_log

EXAMPLE = "example: python generate.py humanonly.db --rows 20000 --seed 1 --audit-log audit.jsonl"


def main() -> int:
    """Exit code 0 when made, 2 when it cannot be."""
    parser = argparse.ArgumentParser(description=__doc__, epilog=EXAMPLE)
    parser.add_argument("path", type=Path, help="the file to make; it must not exist yet")
    parser.add_argument("--rows", type=int, default=20_000, help="rows in all, about (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="the same seed makes the same rows (default: %(default)s)")
    parser.add_argument(
        "--traps", type=int, default=0, help="posts that must block a promotion: orphans, some with NUL"
    )
    parser.add_argument("--audit-log", type=Path, help="write the application's audit log here as well")
    options = parser.parse_args()
    if options.path.exists():
        print(f"{options.path} exists. Name another file, or remove it first.", file=sys.stderr)
        return 2
    try:
        counts = generate(options.path, options.rows, options.seed, options.traps)
    except sqlite3.Error as error:
        print(f"{options.path} could not be made: {error}. Is its folder there, and writable?", file=sys.stderr)
        return 2
    print(", ".join(f"{rows} {table}" for table, rows in counts.items()), f"in {options.path}")
    if options.audit_log:
        print(f"audit log {options.audit_log}, head {write_audit_log(options.audit_log, seed=options.seed)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
