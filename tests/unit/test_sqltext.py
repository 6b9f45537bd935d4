"""SQL text is cut and understood as SQLite does."""

import sqlite3
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cutover.schema.longtexts import OF_EACH, LongTexts
from cutover.schema.memories import remembered
from cutover.schema.sqltext import StatementKind, classify, inspect, split
from cutover.schema.sqltokens import tokens

TRIGGER = "CREATE TRIGGER t AFTER INSERT ON a BEGIN SELECT CASE WHEN 1 THEN 2 END; DELETE FROM b; END"


@pytest.mark.parametrize(
    ("script", "statements"),
    [
        ("", []),
        (" ; ;\n-- nothing\n/* at all */;", []),
        ("SELECT 1", ["SELECT 1"]),
        ("SELECT ';'; SELECT \";\" ;", ["SELECT ';'", 'SELECT ";"']),
        ("SELECT 'it''s;';SELECT [a;b], `c;d`", ["SELECT 'it''s;'", "SELECT [a;b], `c;d`"]),
        ("SELECT 1 -- ; not yet\n; SELECT 2 /* ; */", ["SELECT 1", "SELECT 2"]),
        (f"{TRIGGER}; SELECT 1", [TRIGGER, "SELECT 1"]),
        (TRIGGER.replace("CREATE", "create temp"), [TRIGGER.replace("CREATE", "create temp")]),
        ("CREATE TABLE trigger_x(a); SELECT 2", ["CREATE TABLE trigger_x(a)", "SELECT 2"]),
        ("BEGIN; SELECT 1; END; SELECT 2", ["BEGIN", "SELECT 1", "END", "SELECT 2"]),
        ("SELECT 'open; string", ["SELECT 'open; string"]),
    ],
)
def test_split(script: str, statements: list[str]) -> None:
    assert split(script) == statements


@given(
    st.lists(st.sampled_from(["SELECT 1", "'a;b'", "--x;\n", "/*;*/", TRIGGER + ";", ";", "BEGIN", "END", '"q;"', " "]))
)
def test_split_loses_nothing_and_agrees_with_sqlite(parts: list[str]) -> None:
    script = " ".join(parts)
    pieces = split(script)
    told = [token.text for token in tokens(script) if token.type != "semi"]
    assert told == [token.text for piece in pieces for token in tokens(piece) if token.type != "semi"]
    for piece in pieces:
        assert sqlite3.complete_statement(piece + ";")


@pytest.mark.parametrize(
    ("sql", "kind"),
    [
        ("select 1", StatementKind.READ),
        ("  /* hello */ values (1)", StatementKind.READ),
        ("explain delete from t", StatementKind.READ),
        ("with x as (select 1) select * from x", StatementKind.READ),
        ("with x as (select 1) insert into t select * from x", StatementKind.WRITE),
        ("WITH x AS (SELECT 1) DELETE FROM t", StatementKind.WRITE),
        ("replace into t values (1)", StatementKind.WRITE),
        ("pragma user_version = 3", StatementKind.WRITE),
        ("pragma user_version", StatementKind.READ),
        ("pragma table_info('t')", StatementKind.READ),
        ("PRAGMA main.foreign_key_list(t)", StatementKind.READ),
        ("pragma temp.table_info('t')", StatementKind.READ),
        ('PRAGMA "temp".foreign_key_list(t)', StatementKind.READ),
        ("pragma temp.user_version = 3", StatementKind.REFUSED),
        ("pragma other.table_info(t)", StatementKind.REFUSED),
        ("pragma foreign_keys = off", StatementKind.STATE),
        ("pragma journal_mode = delete", StatementKind.REFUSED),
        ("PRAGMA journal_mode = 'WAL'", StatementKind.READ),
        ("PRAGMA legacy_alter_table = OFF", StatementKind.READ),
        ("pragma main.read_uncommitted(0)", StatementKind.READ),
        ("pragma read_uncommitted = 1", StatementKind.READ),
        ("select * from [pragma_Read_uncommitted]", StatementKind.REFUSED),
        ("pragma legacy_alter_table = 1", StatementKind.REFUSED),
        ("pragma query_only = off", StatementKind.REFUSED),
        ("pragma case_sensitive_like", StatementKind.READ),
        ("pragma case_sensitive_like = on", StatementKind.REFUSED),
        ("pragma wal_checkpoint", StatementKind.REFUSED),
        ("pragma writable_schema = on", StatementKind.REFUSED),
        ("create table t(a)", StatementKind.DDL),
        ("create temp table t(a)", StatementKind.DDL),
        ("create table temp.t(a)", StatementKind.DDL),
        ("create temp view t as select 1", StatementKind.REFUSED),
        ("create table t(temp, temporary)", StatementKind.DDL),
        ("attach 'x' as y", StatementKind.REFUSED),
        ("vacuum into 'x'", StatementKind.REFUSED),
        ("begin", StatementKind.BEGIN),
        ("BEGIN TRANSACTION READONLY", StatementKind.BEGIN_READ),
        ("begin readonly", StatementKind.BEGIN_READ),
        ("begin immediate transaction", StatementKind.BEGIN_WRITE),
        ("end", StatementKind.COMMIT),
        ("rollback", StatementKind.ROLLBACK),
        ("rollback transaction to savepoint x", StatementKind.ROLLBACK_TO),
        ("savepoint x", StatementKind.SAVEPOINT),
        ("", StatementKind.EMPTY),
        ("-- nothing", StatementKind.EMPTY),
        ("select 1; select 2", StatementKind.MANY),
        ("select 1;; -- done", StatementKind.READ),
        ("insert into _cutover_control values (1)", StatementKind.REFUSED),
        ('delete from "_CUTOVER_log"', StatementKind.REFUSED),
        ("update '_cutover_log' set a = 1", StatementKind.REFUSED),
        ("drop trigger [_cutover_fence_users]", StatementKind.REFUSED),
        ("insert into t values ('_cutover_x')", StatementKind.WRITE),
        ("select * from _cutover_control", StatementKind.READ),
    ],
)
def test_classify(sql: str, kind: StatementKind) -> None:
    assert classify(sql) is kind


@pytest.mark.parametrize(
    ("sql", "params"),
    [
        ("select ?, ?", (None, None)),
        ("select ?3", (None, None, "?3")),
        ("select :a, @b, $c, :a", (":a", "@b", "$c")),
        ("select :a, ?1, ?", (":a", None)),
        ("select ?2, :x", (None, "?2", ":x")),
        ("select '?', \"?\", [?] -- ?", ()),
    ],
)
def test_parameters_are_numbered_as_sqlite_does(sql: str, params: tuple[str | None, ...]) -> None:
    assert inspect(sql).params == params


@pytest.mark.parametrize("sql", ["select ?0", "select ?32767", "select ?99999999999999999999"])
def test_a_parameter_number_out_of_range_is_noticed(sql: str) -> None:
    assert inspect(sql).bad_param


def test_parameter_counts_agree_with_sqlite() -> None:
    db = sqlite3.connect(":memory:")
    for sql in ("select ?, ?5, ?", "select :a, :b, ?1, ?", "select $a::b(c), @x", "select 1"):
        db.execute(sql, (None,) * len(inspect(sql).params))


def test_the_streams_own_past_takes_the_place_of_the_connections() -> None:
    db = sqlite3.connect(":memory:")
    sql = remembered(
        "SELECT last_insert_rowid(), changes() + 1, 'changes()' AS x, total_changes() FROM (SELECT 1)", 7, 2, 9
    )
    cursor = db.execute(sql)
    assert cursor.fetchall() == [(7, 3, "changes()", 9)]
    assert [column[0] for column in cursor.description] == [
        "last_insert_rowid()",
        "changes() + 1",
        "x",
        "total_changes()",
    ]
    assert inspect("INSERT INTO t VALUES (last_insert_rowid())").remembers
    assert remembered("INSERT INTO t VALUES (1, last_insert_rowid(), 2)", 7, 2, 9) == "INSERT INTO t VALUES (1, 7, 2)"


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT last_insert_rowid() IS NOT NULL, coalesce ( changes(),  0 ), changes()>0 -- so",
        "SELECT changes() /* of */ + 1 /* so */, changes() /* many */ FROM t",
        "SELECT DISTINCT changes() n, changes() AS m, (changes()) 'o', changes() + 1 \"p\"",
        "SELECT DISTINCT CASE changes() WHEN 0 THEN 1 END, CASE changes() WHEN 0 THEN 1 END o",
        "SELECT changes() IS NULL, changes() COLLATE nocase, changes() LIKE a FROM t",
        "SELECT -changes() > t.a, changes() = x'00' FROM t",
        'SELECT changes() IS NOT DISTINCT FROM 3, changes() || "a" AS b FROM t WHERE a < changes()',
        "SELECT * FROM (SELECT changes() > 0, max(1, changes()), a FROM t)",
        "SELECT (SELECT 1 + total_changes()), (a, 1) IN (SELECT changes(), 2 LIMIT 0) IS NULL FROM t",
        "SELECT changes() + ? UNION SELECT last_insert_rowid() + 5 ORDER BY 1;",
        "WITH c AS (SELECT changes() + 1) SELECT *, changes() % 2 FROM c",
        "SELECT sum(a) FILTER (WHERE changes() = 0) OVER w FROM t WINDOW w AS (ORDER BY a)",
    ],
)
def test_columns_that_ask_for_the_past_are_named_as_they_are_written(sql: str) -> None:
    db = sqlite3.connect(":memory:")
    db.execute("CREATE TABLE t (a INTEGER)")
    given = (1,) * len(inspect(sql).params)
    one, two = db.execute(sql, given), db.execute(remembered(sql, 0, 0, 0), given)
    assert [column[0] for column in two.description] == [column[0] for column in one.description]
    assert two.fetchall() == one.fetchall()


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT id, a FROM t ORDER BY changes(), a",
        "SELECT id, a FROM t ORDER BY a > 'x', (+last_insert_rowid()) DESC, total_changes() COLLATE nocase, a",
        "SELECT max(a), min(id) FROM t GROUP BY changes() HAVING changes() ORDER BY changes() LIMIT changes()",
        "SELECT a FROM (SELECT a FROM t ORDER BY changes(), a LIMIT 2)",
        "SELECT id, row_number() OVER (PARTITION BY changes() ORDER BY changes(), a) FROM t ORDER BY id",
        "SELECT (SELECT a FROM t ORDER BY changes(), a LIMIT 1), changes() FROM t ORDER BY 2",
    ],
)
def test_a_number_of_the_past_is_no_place_of_a_column(sql: str) -> None:
    db = sqlite3.connect(":memory:")
    db.executescript("CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT); INSERT INTO t (a) VALUES ('z'), ('y'), ('x')")
    db.execute("UPDATE t SET id = id WHERE id = 1")  # changes() is 1 now
    last, changes, total = db.execute("SELECT last_insert_rowid(), changes(), total_changes()").fetchone()
    assert db.execute(remembered(sql, last, changes, total)).fetchall() == db.execute(sql).fetchall()


@pytest.mark.parametrize(
    ("sql", "plain"),
    [
        ("select a, t.B as c from T where x in (select 1, 2)", ("t", ("a", "b"))),
        ("select * from t order by a", ("t", ("*",))),
        ("select a from t, u", None),
        ("select a from t join u", None),
        ("select a + 1 from t", None),
        ("select null from t", None),
        ("select a from (select a from t)", None),
        ("select a from t union select 1", None),
    ],
)
def test_plain_queries(sql: str, plain: object) -> None:
    assert inspect(sql).plain == plain


@given(st.text(max_size=60))
def test_any_text_is_survived(text: str) -> None:
    assert len(inspect(text).params) <= 32766
    assert "".join(split(text)) is not None


@pytest.mark.parametrize(
    "text",
    ["$a(" * 20_000, ":a((((((" * 10_000, "changes()," * 20_000 + "1", "(" * 50_000, "'" * 50_001, "/*" * 50_000],
)
def test_no_text_takes_longer_than_its_length_is_worth(text: str) -> None:
    began = time.process_time()  # others may have the processor meanwhile
    inspect(f"SELECT {text}")
    remembered(f"SELECT {text}", 1, 2, 3)
    assert time.process_time() - began < 10, "a quadratic way through it takes minutes"


def test_an_unfinished_parameter_is_one_token_as_in_sqlite() -> None:
    assert [token.text for token in tokens("$a(b c")] == ["$a(b", "c"]
    assert [token.text for token in tokens("$a(b)c")] == ["$a(b)", "c"]


def test_long_texts_are_remembered_up_to_a_sum() -> None:
    asked: list[str] = []

    def find(text: str) -> int:
        asked.append(text)
        return len(text)

    known = LongTexts(find, 2 * OF_EACH + 10)
    assert [known(text) for text in ("aaaa", "bbbb", "aaaa", "cccc", "aaaa", "bbbb")] == [4] * 6
    assert asked == ["aaaa", "bbbb", "cccc", "bbbb"]
    long = "d" * (3 * OF_EACH)
    assert known(long) == known(long)
    assert asked[-2:] == [long] * 2, "one that is too long for it is found each time"


@pytest.mark.parametrize(
    ("sql", "remembers"),
    [
        ("CREATE TABLE c AS SELECT last_insert_rowid() AS id", True),
        ("create table if not exists c as select changes()", True),
        ("CREATE VIEW v AS SELECT last_insert_rowid()", False),
        ("CREATE TRIGGER g AFTER INSERT ON t BEGIN INSERT INTO u VALUES (last_insert_rowid()); END", False),
        ("CREATE TABLE t (a DEFAULT (changes()), b AS (total_changes()))", False),
    ],
)
def test_what_a_definition_asks_for_later_is_kept_as_it_is_written(sql: str, remembers: bool) -> None:
    assert inspect(sql).remembers is remembers


ARGUMENTS = (
    "0 1 2 256 257 1.5 0.5 1e3 0x1 0x100 0x0000000001 0x7fffffff 0x80000001 0x100000001 0000000000001 2147483647 "
    "2147483649 4294967297 12345678901 -1 +1 on ON yes true off no false full maybe '1' \"on\" 'yes' [on] `on` ''"
)


@pytest.mark.parametrize("argument", ARGUMENTS.split())
def test_what_is_on_for_sqlite_is_on(argument: str) -> None:
    db = sqlite3.connect(":memory:", isolation_level=None)
    for name in ("foreign_keys", "read_uncommitted"):
        for text in (f"PRAGMA {name} = {argument}", f"PRAGMA {name}({argument})"):
            db.execute(f"PRAGMA {name} = OFF")
            db.execute(text)
            assert inspect(text).on == db.execute(f"PRAGMA {name}").fetchone()[0], text
    db.close()
