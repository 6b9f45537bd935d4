"""JupyterHub: users, groups, roles, spawners, tokens, by its own models; its tables by its own migrations."""

from __future__ import annotations

from jupyterhub import orm
from jupyterhub.dbutil import upgrade_if_needed

from tests.frameworks.obeying import DATABASE, Reading, obey
from tests.zoo.applications.connecting import sqlalchemy_url
from tests.zoo.applications.filling import Filler

_URL = sqlalchemy_url(DATABASE)


class JupyterHub:
    """JupyterHub's database."""

    def __init__(self) -> None:
        self.session = None
        self.filler: Filler | None = None

    def migrate(self) -> None:
        """As the hub does when it starts."""
        upgrade_if_needed(_URL)
        factory = orm.new_session_factory(_URL)
        self.session = factory()
        values = {"JSONDict": lambda n: {"n": n, "bytes": "ü"}, "JSONList": lambda n: ["scope", f"x!{n}"]}
        self.filler = Filler(self.session.get_bind(), orm.Base.metadata, values)

    def seed(self) -> None:
        """Rows in every table."""
        self.write(0)

    def write(self, turn: int) -> None:
        """Users with tokens and servers, by the hub's own classes; then rows everywhere."""
        session = self.session
        assert session is not None
        assert self.filler is not None
        if turn == 0:
            session.add(orm.OAuthClient(identifier="jupyterhub", description="the hub itself"))
        group = orm.Group(name=f"group {turn}", properties={"x": [turn]})
        for number in range(4):
            user = orm.User(name=f"üser {turn}.{number}", admin=number == 0)
            session.add(user)
            group.users.append(user)
            session.commit()
            user.new_api_token(note="by hand", expires_in=3600)
            spawner = orm.Spawner(name="", user=user, state={"pid": number}, user_options={"a": None})
            spawner.server = orm.Server(proto="http", ip="127.0.0.1", port=8000 + number, base_url="/")
            session.add(spawner)
        session.add(group)
        session.commit()
        session.delete(user)
        session.commit()
        self.filler.write(turn)

    def read(self) -> Reading:
        """Every row of every table."""
        assert self.filler is not None
        return self.filler.read()


obey(JupyterHub())
