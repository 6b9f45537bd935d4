"""Which PRAGMAs applications may use: by name, and whether they set anything."""

from __future__ import annotations


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


READING = _names(
    "application_id auto_vacuum automatic_index busy_timeout cache_size cache_spill case_sensitive_like "
    "cell_size_check collation_list compile_options data_version database_list defer_foreign_keys encoding "
    "foreign_key_check foreign_key_list foreign_keys freelist_count fullfsync function_list hard_heap_limit "
    "index_info index_list index_xinfo integrity_check journal_mode journal_size_limit legacy_alter_table "
    "legacy_file_format locking_mode max_page_count mmap_size module_list page_count page_size pragma_list "
    "query_only quick_check read_uncommitted recursive_triggers reverse_unordered_selects schema_version "
    "secure_delete soft_heap_limit synchronous table_info table_list table_xinfo temp_store threads "
    "trusted_schema user_version wal_autocheckpoint"
)
"""Without an argument they only answer."""

WITH_ARGUMENT = _names(
    "foreign_key_check foreign_key_list index_info index_list index_xinfo integrity_check quick_check table_info "
    "table_list table_xinfo"
)
"""With one, too."""

OF_STATE = _names(
    "auto_vacuum data_version freelist_count max_page_count mmap_size page_count page_size schema_version"
)
"""They tell of SQLite's file itself, which is not the one that is asked once Postgres answers."""

OF_STREAM = _names("foreign_keys defer_foreign_keys")
OF_FILE = _names("user_version application_id")

ALWAYS_OFF = _names(
    "cell_size_check ignore_check_constraints legacy_alter_table read_uncommitted reverse_unordered_selects"
)
"""What no stream has on. Django and SQLAlchemy switch some of it off on each connection."""
OFF = _names("0 off no false")


def reads(name: str, argument: bool) -> bool:
    """Whether it only answers."""
    return name in READING and (not argument or name in WITH_ARGUMENT)


def confirms(name: str, argument: str) -> bool:
    """Whether it sets what is so in any case."""
    return (name in ALWAYS_OFF and argument.lower() in OFF) or (name == "journal_mode" and argument.lower() == "wal")


def allowed(name: str, argument: str) -> bool:
    """Whether an application may use it at all."""
    return reads(name, bool(argument)) or name in OF_STREAM or name in OF_FILE or confirms(name, argument)
