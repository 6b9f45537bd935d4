"""Which PRAGMAs applications may use: by name, and whether they set anything."""

from __future__ import annotations

import re


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
ONLY_TOLD = "read_uncommitted"
"""Without a shared cache, which no stream has, it changes nothing but what it tells itself. A stream remembers it, and
no store is told."""
OF_FILE = _names("user_version application_id")

ALWAYS_OFF = _names("cell_size_check ignore_check_constraints legacy_alter_table reverse_unordered_selects")
"""What no stream has on. Django and SQLAlchemy switch some of it off on each connection."""
_TRUE = _names("on yes true")
_NUMBER = re.compile(r"0x0*([0-9a-f]{1,8})(?![0-9a-f])|0*([0-9]{1,10})(?![0-9])", re.IGNORECASE)


def true(argument: str) -> bool:
    """Whether SQLite takes an argument for ON: of a number its last byte tells; what it does not know is OFF."""
    number = _NUMBER.match(argument)
    if number is None:
        return argument.lower() in _TRUE
    value = int(number[1], 16) if number[1] else int(number[2])
    return value < 1 << 31 and bool(value & 255)


def reads(name: str, argument: bool) -> bool:
    """Whether it only answers."""
    return name in READING and (not argument or name in WITH_ARGUMENT)


def confirms(name: str, argument: str) -> bool:
    """Whether it sets what is so in any case, or what no store needs to know."""
    off = name in ALWAYS_OFF and not true(argument)
    return off or name == ONLY_TOLD or (name == "journal_mode" and argument.lower() == "wal")


def allowed(name: str, argument: str) -> bool:
    """Whether an application may use it at all."""
    return reads(name, bool(argument)) or name in OF_STREAM or name in OF_FILE or confirms(name, argument)
