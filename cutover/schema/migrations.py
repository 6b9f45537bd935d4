"""What tables on Postgres say of themselves, and those in which frameworks record their migrations. Pure."""

from __future__ import annotations

from collections.abc import Iterator

OF_ONE_STORE = frozenset({"_prisma_migrations", "__drizzle_migrations", "applied_schema_deltas"})
"""They name files, or hold their hashes, that the framework writes anew for each kind of database. Where the framework
keeps such a record on Postgres itself, one store's in the other would have it run migrations again, or refuse to start.
Where it keeps none, it migrates through the front door in SQLite's SQL, and its record has to follow like any table."""

MIRRORED = "What SQLite has here, mirrored by cutover"
"""The comment that tells such a table on Postgres from one of the framework's own. It is set with the table, or with
its name, and lasts as long."""

UNFINISHED = "cutover is about to mirror this table"
"""The comment of a table that cutover created and that no record says it of yet: whoever finds it after a kill knows
what it is. It goes once the record stands."""

OF_BOTH = frozenset(
    {
        "alembic_version", "django_migrations", "schema_migrations", "ar_internal_metadata", "knex_migrations",
        "sequelizemeta", "goose_db_version", "flyway_schema_history", "databasechangelog", "_sqlx_migrations",
        "__diesel_schema_migrations", "refinery_schema_history", "migration_log", "gorp_migrations",
    }
)  # fmt: skip
"""As a rule the same migrations run on either store."""


def marked(place: str, name: str) -> Iterator[str]:
    """What to say behind a statement that gives a table of cutover's making this name. `place`: qualified, quoted."""
    if name.lower() in OF_ONE_STORE:
        yield f"COMMENT ON TABLE {place} IS '{MIRRORED}'"
