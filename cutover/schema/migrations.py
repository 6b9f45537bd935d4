"""Tables in which frameworks record which of their migrations ran. Pure."""

from __future__ import annotations

OF_ONE_STORE = frozenset({"_prisma_migrations", "__drizzle_migrations", "applied_schema_deltas"})
"""They name files, or hold their hashes, that the framework writes anew for each kind of database. One store's record
in the other would have the framework run migrations again, or refuse to start."""

OF_BOTH = frozenset(
    {
        "alembic_version", "django_migrations", "schema_migrations", "ar_internal_metadata", "knex_migrations",
        "sequelizemeta", "goose_db_version", "flyway_schema_history", "databasechangelog", "_sqlx_migrations",
        "__diesel_schema_migrations", "refinery_schema_history", "migration_log", "gorp_migrations",
    }
)  # fmt: skip
"""As a rule the same migrations run on either store."""
