"""The project as the harness runs it: migrated, filled, written and read by Django alone."""

from __future__ import annotations

import os
import sys
import tempfile
import uuid
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import django
from django.apps import apps
from django.conf import settings

from tests.frameworks.obeying import Reading, obey, plain

os.environ["DJANGO_SETTINGS_MODULE"] = "tests.frameworks.django_site.settings"
_MIGRATIONS = "migrations_of_shop"


class Site:
    """Django on one database."""

    def migrate(self) -> None:
        """Django writes the migrations of `shop` itself, then runs all."""
        from django.core.management import call_command

        call_command("makemigrations", "shop", verbosity=0)
        call_command("migrate", verbosity=0)

    def seed(self) -> None:
        """Every edge of every type, and relations of each kind."""
        from tests.frameworks.django_site import values
        from tests.frameworks.django_site.shop.models import Author, Day, Every, Line, Tag
        from tests.frameworks.django_site.shop.models import Reading as Measured

        for row in values.rows():
            Every.objects.create(**row)
        authors = [Author(id=uuid.UUID(int=n << 64 | n), name=f"Author {n}", nick=f"Nick{n}") for n in range(20)]
        Author.objects.bulk_create(authors)
        Tag.objects.bulk_create([Tag(slug=f"tag-{number}") for number in range(10)])
        Measured.objects.bulk_create(Measured(at=_moment(n), value=n / 3) for n in range(-20, 20))
        Day.objects.bulk_create(Day(day=date(1999, 12, 1) + timedelta(days=n), note=f"n{n}") for n in range(40))
        Line.objects.bulk_create(Line(invoice=f"I-{n % 3}", number=n, amount=Decimal(n) / 8) for n in range(30))
        self.write(0)

    def write(self, turn: int) -> None:
        """What applications do: create, update by row and by query, relate, delete with all that hangs on it."""
        from django.db import transaction

        _accounts(turn)
        _sessions(turn)
        with transaction.atomic():
            _books(turn)
        _values(turn)
        try:
            with transaction.atomic():
                _books(turn + 1000)
                raise _GivenUpError
        except _GivenUpError:
            pass

    def read(self) -> Reading:
        """Every row of every model, as Django's objects."""
        found: Reading = {}
        for model in apps.get_models(include_auto_created=True):
            names = [field.attname for field in model._meta.concrete_fields]
            found[model.__name__] = {
                repr(thing.pk): repr({name: plain(getattr(thing, name)) for name in names})
                for thing in model._default_manager.all()
            }
        return found


class _GivenUpError(Exception):
    """Rolls a transaction back."""


def _moment(number: int) -> datetime:
    return datetime(2024, 1, 1, 12, tzinfo=UTC) + timedelta(hours=number, microseconds=number * 7)


def _accounts(turn: int) -> None:
    from django.contrib.admin.models import ADDITION, LogEntry
    from django.contrib.auth.models import Group, Permission, User

    user = User.objects.create_user(f"user{turn}", f"user{turn}@example.org", "secret", first_name="Zoë")
    group, _ = Group.objects.get_or_create(name=f"group {turn // 2}")
    group.permissions.set(Permission.objects.order_by("pk")[turn : turn + 5])
    user.groups.add(group)
    user.user_permissions.add(*Permission.objects.order_by("-pk")[:3])
    user.last_login = _moment(turn)
    user.save(update_fields=["last_login"])
    LogEntry.objects.log_actions(user.pk, [user, group], ADDITION, change_message=[{"added": {"name": "ü"}}])
    User.objects.create_superuser(f"passing{turn}", None, "secret").delete()


def _sessions(turn: int) -> None:
    from django.contrib.sessions.backends.db import SessionStore
    from django.contrib.sessions.models import Session

    for number in range(3):
        session = SessionStore()
        session["cart"] = [turn, number]
        session.save()
        session["cart"] = []
        session.save()
    session.flush()
    Session.objects.filter(expire_date__lt=_moment(0)).delete()


def _books(turn: int) -> None:
    from django.db.models import F

    from tests.frameworks.django_site.shop.models import Author, Book, Profile, Special, Tag, Writing

    author = Author.objects.create(name="Ünï", nick=f"writer {turn}", born=date(1900 + turn, 1, 1))
    others = list(Author.objects.order_by("pk")[:3])
    books = [
        Book.objects.create(title=f"Book {turn}.{number}", main_author=author, pages=number + 1, editor=others[0])
        for number in range(4)
    ]
    books[1].sequel_to = books[0]
    books[1].save()
    for number, other in enumerate(others):
        Writing.objects.create(author=other, book=books[0], since=_moment(turn), share=Decimal(number) / 8)
    books[0].tags.set(Tag.objects.all()[:4])
    books[0].tags.remove(Tag.objects.first())
    Tag.objects.create(slug=f"new-{turn}").parents.add(Tag.objects.first())
    Special.objects.create(title=f"Special {turn}", main_author=author, reason="because", pages=0, shelf=turn)
    Profile.objects.create(author=author, settings={"theme": "dark", "turn": turn})
    Book.objects.filter(shelf=1).update(pages=F("pages") + 1, active=turn % 2 == 0)
    Book.objects.bulk_update([Book(pk=book.pk, title=book.title + "!") for book in books[2:]], ["title"])
    books[3].delete()


def _values(turn: int) -> None:
    from tests.frameworks.django_site import values
    from tests.frameworks.django_site.shop.models import Day, Every, Line
    from tests.frameworks.django_site.shop.models import Reading as Measured

    Every.objects.create(**values.some(turn))
    Every.objects.bulk_create([Every(**values.some(turn + more)) for more in range(1, 9)])
    Every.objects.bulk_create([Every(), Every(text="only text")])
    Every.objects.filter(flag=True).update(**values.some(turn + 3))
    first = Every.objects.order_by("pk")[turn]
    first.perhaps, first.json, first.lasts = None, {"turn": turn}, timedelta(days=-turn, microseconds=turn)
    first.save()
    Every.objects.order_by("-pk")[0].delete()
    Measured.objects.update_or_create(at=_moment(turn), defaults={"value": float(turn)})
    Measured.objects.filter(at__lt=_moment(turn - 15)).delete()
    Day.objects.bulk_create(
        [Day(day=date(2000, 1, turn + 1), note=f"t{turn}")],
        update_conflicts=True, unique_fields=["day"], update_fields=["note"],
    )  # fmt: skip
    Day.objects.filter(day=date(1999, 12, 1 + turn)).update(day=date(1800, 1, 1 + turn))
    Line.objects.filter(invoice="I-1", number=1 + 3 * turn).update(amount=Decimal("-0.125"))
    Line.objects.create(invoice="I-ü", number=turn, amount=Decimal("100000.5"))


def main() -> None:
    """Obey the harness."""
    with tempfile.TemporaryDirectory() as folder:
        package = Path(folder) / _MIGRATIONS
        package.mkdir()
        (package / "__init__.py").touch()
        sys.path.insert(0, folder)
        settings.MIGRATION_MODULES = {"shop": _MIGRATIONS}
        django.setup()
        obey(Site())


if __name__ == "__main__":
    main()
