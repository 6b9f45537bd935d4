"""HumanOnly's smoke flow (onboarding, post, feed, report, moderation) against the front door or Postgres itself.

Fit for `promotion.smoke_command`: exit code 0 when every step did what it should, 1 when one did not, 5 when nothing
answered.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys

import asyncpg

from cutover.cli.demo_hrana import FrontDoorError
from cutover.cli.demo_smoke import SmokeFailed, application, smoke

EXAMPLE = """examples:
  python smoke.py http://127.0.0.1:8080
  python smoke.py postgresql://localhost/humanonly
"""


def main() -> int:
    """See the module."""
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, epilog=EXAMPLE, formatter_class=formatter)
    parser.add_argument("url", help="of the front door (http://...) or of Postgres (postgresql://...)")
    parser.add_argument("--token", default=os.environ.get("FRONT_DOOR_TOKEN", ""), help="or FRONT_DOOR_TOKEN")
    parser.add_argument("--schema", default="public", help="schema on Postgres (default: %(default)s)")
    parser.add_argument("--keep", action="store_true", help="leave the rows that it made")
    options = parser.parse_args()
    try:
        asyncio.run(_play(options))
    except SmokeFailed as error:
        print(f"FAILED at {error}", file=sys.stderr)
        return 1
    except (FrontDoorError, asyncpg.PostgresError) as error:
        print(f"FAILED: {error}", file=sys.stderr)
        return 5 if getattr(error, "code", "") in ("UNREACHABLE", "NO_ANSWER") else 1
    except OSError as error:
        print(f"Nothing answers there: {error}", file=sys.stderr)
        return 5
    return 0


async def _play(options: argparse.Namespace) -> None:
    async with application(options.url, token=options.token, schema=options.schema) as run:
        await smoke(run, print, keep=options.keep)


if __name__ == "__main__":
    sys.exit(main())
