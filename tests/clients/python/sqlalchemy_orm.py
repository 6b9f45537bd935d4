"""SQLAlchemy with `sqlalchemy-libsql`, which stands on `libsql-experimental`.

That driver has no exceptions of DB-API (all are ValueError) and no `Binary`, so blobs are left to other scenarios.
"""

from __future__ import annotations

import datetime as dt
import decimal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, relationship, selectinload

from tests.clients.python.harness import PLACE, PREFIX, TEXTS, TOKEN, case, main, refused, tell


def make_engine(token: str = TOKEN, **more: Any) -> sa.Engine:
    # Named because the dialect takes a URL without a path for a database in memory, with one connection a thread.
    return sa.create_engine(
        f"sqlite+libsql://{PLACE}?secure=false", connect_args={"auth_token": token}, poolclass=sa.QueuePool, **more
    )


engine = make_engine()
SEEN = dt.datetime.fromisoformat("2026-01-02 03:04:05.000678")


class Base(DeclarativeBase):
    pass


class Author(Base):
    __tablename__ = f"{PREFIX}author"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(sa.String(50), unique=True)
    born: Mapped[dt.date | None]
    seen: Mapped[dt.datetime | None]
    fee: Mapped[decimal.Decimal | None] = mapped_column(sa.Numeric(10, 2))
    score: Mapped[float | None]
    active: Mapped[bool] = mapped_column(default=True)
    notes: Mapped[dict[str, Any] | None] = mapped_column(sa.JSON)
    books: Mapped[list[Book]] = relationship(back_populates="author", cascade="all, delete-orphan")


class Book(Base):
    __tablename__ = f"{PREFIX}book"
    __table_args__ = (
        sa.UniqueConstraint("author_id", "title", name=f"{PREFIX}once"),
        sa.CheckConstraint("pages > 0", name=f"{PREFIX}pages"),
        sa.Index(f"{PREFIX}titles", "title"),
    )
    id: Mapped[int] = mapped_column(primary_key=True)
    author_id: Mapped[int] = mapped_column(sa.ForeignKey(f"{PREFIX}author.id", ondelete="CASCADE"))
    title: Mapped[str]
    pages: Mapped[int] = mapped_column(sa.BigInteger, default=1)
    author: Mapped[Author] = relationship(back_populates="books")


@contextmanager
def session() -> Iterator[Session]:
    with Session(engine) as opened:
        yield opened


@case
def the_schema_is_made_and_seen() -> None:
    Base.metadata.create_all(engine)
    Base.metadata.create_all(engine)
    seen = sa.inspect(engine)
    assert {Author.__tablename__, Book.__tablename__} <= set(seen.get_table_names())
    columns = {column["name"]: column["type"] for column in seen.get_columns(Author.__tablename__)}
    assert str(columns["fee"]) == "NUMERIC(10, 2)"
    assert str(columns["seen"]) == "DATETIME"
    assert seen.get_pk_constraint(Book.__tablename__)["constrained_columns"] == ["id"]
    (key,) = seen.get_foreign_keys(Book.__tablename__)
    assert (key["referred_table"], key["options"]) == (Author.__tablename__, {"ondelete": "CASCADE"})
    assert [index["name"] for index in seen.get_indexes(Book.__tablename__)] == [f"{PREFIX}titles"]
    assert not seen.has_table(f"{PREFIX}nowhere")
    assert seen.get_temp_table_names() == []
    reflected = sa.MetaData()
    reflected.reflect(engine, views=True, only=lambda name, _: name.startswith((PREFIX, "_cutover")))
    assert set(reflected.tables) == {Author.__tablename__, Book.__tablename__}
    assert not [name for name in seen.get_table_names() if name.startswith("_")], "nothing is cutover's"


@case
def objects_there_and_back() -> None:
    ada = Author(
        name="Ada", born=dt.date(1815, 12, 10), seen=SEEN,
        fee=decimal.Decimal("12.50"), score=0.1, notes={"texts": TEXTS[:15], "deep": [1, None, {"x": 2.5}]},
    )  # fmt: skip
    with session() as opened:
        ada.books = [Book(title="Notes", pages=66), Book(title="Letters", pages=2**31 - 1)]
        opened.add(ada)
        opened.commit()
        assert (ada.id, {book.title: book.id for book in ada.books}) == (1, {"Notes": 1, "Letters": 2})
    with session() as opened:
        found = opened.scalars(sa.select(Author).options(selectinload(Author.books))).one()
        assert (found.name, found.born, found.seen) == ("Ada", ada.born, SEEN)
        assert (found.fee, found.score, found.active) == (decimal.Decimal("12.50"), 0.1, True)
        assert found.notes == {"texts": TEXTS[:15], "deep": [1, None, {"x": 2.5}]}
        assert sorted(book.title for book in found.books) == ["Letters", "Notes"]


@case
def queries_updates_and_upserts() -> None:
    with session() as opened:
        opened.add_all([Author(name=f"author {at}", score=at) for at in range(30)])
        opened.commit()
        top = opened.execute(sa.select(Author.name).where(Author.score > 27).order_by(Author.score.desc())).scalars()
        assert list(top) == ["author 29", "author 28"]
        joined = sa.select(Author.name, sa.func.count(Book.id)).outerjoin(Book).group_by(Author.id).order_by(Author.id)
        assert [tuple(row) for row in opened.execute(joined.limit(2))] == [("Ada", 2), ("author 0", 0)]
        changed = opened.execute(sa.update(Author).where(Author.score < 3, Author.name != "Ada").values(active=False))
        assert changed.rowcount == 3
        insert = sa.dialects.sqlite.insert(Author).values(name="Ada", active=True)
        opened.execute(insert.on_conflict_do_update(index_elements=["name"], set_={"score": 9.5}))
        opened.commit()
        assert opened.scalar(sa.select(Author.score).where(Author.name == "Ada")) == 9.5
        gone = opened.scalars(sa.delete(Author).where(Author.score == 29).returning(Author.name)).all()
        opened.commit()
        assert gone == ["author 29"]


@case
def constraint_errors() -> None:
    with session() as opened:
        opened.add(Author(name="Ada"))
        error = refused(ValueError, opened.commit)
        assert f"UNIQUE constraint failed: {Author.__tablename__}.name" in str(error)
        opened.rollback()
        opened.add(Book(title="x", author_id=1, pages=0))
        assert "CHECK constraint failed" in str(refused(ValueError, opened.commit))
        opened.rollback()
        opened.add(Book(title="x", author_id=999))
        assert "FOREIGN KEY constraint failed" in str(refused(ValueError, opened.commit))
        opened.rollback()
        assert opened.scalar(sa.select(sa.func.count()).select_from(Book)) == 2


@case
def transactions_and_savepoints() -> None:
    with session() as opened:
        opened.add(Author(name="lost"))
        opened.flush()
        with session() as other:
            assert other.scalar(sa.select(sa.func.count()).where(Author.name == "lost")) == 0
        opened.rollback()
        opened.add(Author(name="outer"))
        opened.flush()
        with opened.begin_nested() as nested:
            opened.add(Author(name="inner, lost"))
            opened.flush()
            nested.rollback()
        with opened.begin_nested():
            opened.add(Author(name="inner, kept"))
        opened.commit()
        kept = opened.scalars(
            sa.select(Author.name).where(Author.name.in_(["lost", "outer", "inner, lost", "inner, kept"]))
        )
        assert sorted(kept) == ["inner, kept", "outer"]


@case
def cascades() -> None:
    with session() as opened:
        author = Author(name="brief", books=[Book(title="one"), Book(title="two")])
        opened.add(author)
        opened.commit()
        opened.delete(author)
        opened.commit()
        assert opened.scalar(sa.select(sa.func.count()).select_from(Book)) == 2


@case
def sessions_in_turn_add_up() -> None:
    for turn in range(20):
        with session() as opened:
            found = opened.get_one(Author, 1 + turn % 2)
            found.score = (found.score or 0) + 1
            opened.commit()
    with session() as opened:
        scores = list(opened.scalars(sa.select(Author.score).where(Author.id <= 2).order_by(Author.id)))
        assert scores == [19.5, 10]
        tell("scores", scores)


@case
def a_wrong_token() -> None:
    if TOKEN:
        other = make_engine("wrong")
        assert "401" in str(refused(ValueError, lambda: other.connect().execute(sa.text("SELECT 1"))))
        other.dispose()
    with session() as opened:
        tell("names", list(opened.scalars(sa.select(Author.name).order_by(Author.id))))
    engine.dispose()


main()
