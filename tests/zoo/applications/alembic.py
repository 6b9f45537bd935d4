"""SQLAlchemy with Alembic: a column of every type, constraints of every kind, by migrations that run on both stores."""

from __future__ import annotations

import enum
import tempfile
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from alembic import command
from alembic.config import Config

from tests.frameworks.obeying import DATABASE, Reading, obey
from tests.zoo.applications.connecting import sqlalchemy_url
from tests.zoo.applications.filling import Filler


class Colour(enum.Enum):
    """Stored by name."""

    red = 1
    green = 2


METADATA = sa.MetaData(
    naming_convention={
        "ix": "ix_%(column_0_label)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def _every(prefix: str) -> list[sa.Column[Any]]:
    kinds = [
        sa.BigInteger(), sa.Boolean(), sa.Date(), sa.DateTime(), sa.DateTime(timezone=True), sa.Enum(Colour),
        sa.Enum("small", "large", name=f"{prefix}_size"), sa.Enum("a", "b", native_enum=False), sa.Float(),
        sa.Float(precision=24), sa.Double(), sa.REAL(), sa.Integer(), sa.Interval(), sa.Interval(native=False),
        sa.JSON(), sa.LargeBinary(), sa.Numeric(), sa.Numeric(10, 2), sa.Numeric(30, 0), sa.DECIMAL(8, 4),
        sa.SmallInteger(), sa.String(), sa.String(20), sa.CHAR(8), sa.Text(), sa.Time(), sa.Unicode(30),
        sa.UnicodeText(), sa.Uuid(), sa.Uuid(native_uuid=False), sa.Uuid(as_uuid=False),
    ]  # fmt: skip
    return [sa.Column(f"{type(kind).__name__.lower()}_{n}", kind, nullable=True) for n, kind in enumerate(kinds)]


sa.Table("every", METADATA, sa.Column("id", sa.Integer, primary_key=True), *_every("every"))
sa.Table(
    "Mixed Case", METADATA,
    sa.Column("Id", sa.Uuid, primary_key=True), sa.Column("order", sa.String(10), unique=True),
    sa.Column("user", sa.Integer, sa.CheckConstraint('"user" >= 0', name="not_negative")),
    sa.Column("made", sa.DateTime, server_default=sa.func.now()),
    sa.Column("doubled", sa.Integer, sa.Computed('"user" * 2', persisted=True)),
)  # fmt: skip
sa.Table(
    "parent", METADATA,
    sa.Column("a", sa.String(20), primary_key=True), sa.Column("b", sa.Date, primary_key=True),
    sa.Column("flag", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Index("ix_parent_flag", "flag", unique=False, sqlite_where=sa.text("flag"), postgresql_where=sa.text("flag")),
)  # fmt: skip
sa.Table(
    "child", METADATA,
    sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True),
    sa.Column("a", sa.String(20)), sa.Column("b", sa.Date), sa.Column("parent_id", sa.ForeignKey("child.id")),
    sa.Column("mixed", sa.ForeignKey("Mixed Case.Id", ondelete="CASCADE")), sa.Column("colour", sa.Enum(Colour)),
    sa.ForeignKeyConstraint(["a", "b"], ["parent.a", "parent.b"], onupdate="CASCADE", name="fk_child_parent"),
    sa.UniqueConstraint("a", "b", "parent_id"),
)  # fmt: skip
sa.Table("at", METADATA, sa.Column("at", sa.DateTime(timezone=True), primary_key=True), sa.Column("v", sa.Float))
sa.Table("colours", METADATA, sa.Column("colour", sa.Enum(Colour), primary_key=True), sa.Column("note", sa.Text))
sa.Table("loose", METADATA, sa.Column("x", sa.Integer, nullable=False, unique=True), sa.Column("y", sa.Text))

_ENVIRONMENT = """
from alembic import context
given = context.config.attributes
with given["engine"].connect() as connection:
    context.configure(connection=connection, target_metadata=given["metadata"], render_as_batch=True)
    with context.begin_transaction():
        context.run_migrations()
    connection.commit()
"""
_SCRIPT = '''
"""${message}"""
from alembic import op
import sqlalchemy as sa
${imports if imports else ""}
revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}

def upgrade():
    ${upgrades if upgrades else "pass"}

def downgrade():
    pass
'''
_SECOND = """
from alembic import op
import sqlalchemy as sa
revision = "second"
down_revision = "first"

def upgrade():
    with op.batch_alter_table("every") as batch:
        batch.add_column(sa.Column("later", sa.Numeric(6, 3), server_default="1.5", nullable=False))
        batch.alter_column("string_22", new_column_name="text_renamed", existing_type=sa.String())
        batch.create_unique_constraint("uq_every_later", ["later", "id"])
"""


class Alembic:
    """Tables that Alembic made, one migration written by itself and one by hand, in batch mode."""

    def __init__(self) -> None:
        self.engine = sa.create_engine(sqlalchemy_url(DATABASE))
        self.filler: Filler | None = None

    def migrate(self) -> None:
        """`alembic revision --autogenerate`, then `alembic upgrade head`, twice."""
        with tempfile.TemporaryDirectory() as folder:
            versions = Path(folder) / "versions"
            versions.mkdir()
            (versions.parent / "env.py").write_text(_ENVIRONMENT)
            (versions.parent / "script.py.mako").write_text(_SCRIPT)
            config = Config(attributes={"engine": self.engine, "metadata": METADATA})
            config.set_main_option("script_location", folder)
            command.revision(config, message="all", autogenerate=True, rev_id="first")
            (versions / "second_.py").write_text(_SECOND)
            command.upgrade(config, "head")
        present = sa.MetaData()
        self.filler = Filler(self.engine, present)
        self.filler.tables = [_renamed(table) for table in METADATA.sorted_tables]

    def seed(self) -> None:
        """Rows in every table."""
        self.write(0)

    def write(self, turn: int) -> None:
        """Rows in every table, changed and removed."""
        assert self.filler is not None
        self.filler.write(turn, rows=20)

    def read(self) -> Reading:
        """Every row of every table."""
        assert self.filler is not None
        return self.filler.read()


def _renamed(table: sa.Table) -> sa.Table:
    if table.name == "every":
        table.append_column(sa.Column("later", sa.Numeric(6, 3), nullable=False, default=0), replace_existing=True)
        table.c.string_22.name = "text_renamed"
    return table


obey(Alembic())
