"""Django 4.2, whose time the backend is of, with `django-libsql` over WebSocket: migrations, ORM, schema changes.

What the client itself cannot is not asked for: the functions that Django adds to a SQLite of its own (REGEXP, parts of
dates), ROLLBACK TO, after which its driver believes that the whole transaction has ended, and more than a hundred rows
at a time, between which its `fetchmany` loses one.
"""

from __future__ import annotations

import datetime as dt
import decimal
import io
import sys
import threading
import uuid
from pathlib import Path
from typing import Any

import django
from django.apps import AppConfig
from django.conf import settings

from tests.clients.python.harness import PLACE, TEXTS, TOKEN, case, main, refused, tell


class Shop(AppConfig):
    """The models of this file."""

    label = "shop"
    path = str(Path(__file__).parent)


settings.configure(
    DATABASES={
        "default": {
            "ENGINE": "libsql.db.backends.sqlite3",
            "NAME": f"ws://{PLACE}?authToken={TOKEN}",
            "OPTIONS": {"timeout": 60},  # seconds for one answer, on a machine that may be busy
        }
    },
    INSTALLED_APPS=[
        "django.contrib.contenttypes",
        "django.contrib.auth",
        "django.contrib.sessions",
        Shop("shop", sys.modules[__name__]),
    ],
    MIGRATION_MODULES={"shop": None},
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    USE_TZ=False,
)
django.setup()

from django.contrib.auth.models import Group, Permission, User  # noqa: E402  # settings come first
from django.core.management import call_command  # noqa: E402  # settings come first
from django.db import IntegrityError, OperationalError, connection, models, transaction  # noqa: E402  # settings first


class Shelf(models.Model):
    name = models.CharField(max_length=40, unique=True)

    class Meta:
        app_label = "shop"


class Thing(models.Model):
    shelf = models.ForeignKey(Shelf, models.CASCADE, null=True, related_name="things")
    name = models.CharField(max_length=100)
    price = models.DecimalField(max_digits=10, decimal_places=2, default=0)
    weight = models.FloatField(null=True)
    count = models.PositiveIntegerField(default=0)
    large = models.BigIntegerField(default=0)
    made = models.DateField(null=True)
    seen = models.DateTimeField(null=True)
    at = models.TimeField(null=True)
    took = models.DurationField(null=True)
    token = models.UUIDField(default=uuid.uuid4, unique=True)
    data = models.BinaryField(null=True)
    extra = models.JSONField(default=dict)
    good = models.BooleanField(default=True)

    class Meta:
        app_label = "shop"
        constraints = (models.UniqueConstraint(fields=["shelf", "name"], name="shop_once"),)
        indexes = (models.Index(fields=["name"], name="shop_names"),)


@case
def migrations_of_djangos_own_applications() -> None:
    call_command("migrate", verbosity=0)
    call_command("migrate", verbosity=0)
    assert Permission.objects.filter(content_type__app_label="auth").count() == 12
    tables = set(connection.introspection.table_names())
    assert {"auth_user", "django_session", "django_migrations"} <= tables
    written = io.StringIO()
    call_command("inspectdb", stdout=written)
    assert "class AuthUser(models.Model)" in written.getvalue()
    assert "cutover" not in written.getvalue().lower()


@case
def users_and_groups() -> None:
    user = User.objects.create_user("ada", "ada@example.org", "a password")
    group = Group.objects.create(name="engineers")
    group.permissions.set(Permission.objects.filter(codename__startswith="add_"))
    user.groups.add(group)
    assert User.objects.get(username="ada").check_password("a password")
    assert User.objects.filter(groups__name="engineers").count() == 1
    assert group.permissions.count() == 5


@case
def models_are_made() -> None:
    with connection.schema_editor() as editor:
        editor.create_model(Shelf)
        editor.create_model(Thing)
    with connection.cursor() as cursor:
        found = connection.introspection.get_constraints(cursor, "shop_thing")
    assert found["shop_once"]["columns"] == ["shelf_id", "name"]


VALUES: dict[str, Any] = {
    "name": TEXTS[9],
    "price": decimal.Decimal("12345678.90"),
    "weight": 0.1,
    "count": 7,
    "large": -(2**63),
    "made": dt.date(2026, 2, 28),
    "seen": dt.datetime.fromisoformat("2026-01-02 03:04:05.000678"),
    "at": dt.time(23, 59, 59, 999999),
    "took": dt.timedelta(days=3, microseconds=1),
    "data": bytes(range(256)),
    "extra": {"texts": TEXTS[:15], "deep": [1, None, {"x": 2.5}]},
    "good": False,
}


@case
def every_field_comes_back_as_it_was() -> None:
    shelf = Shelf.objects.create(name="top")
    made = Thing.objects.create(shelf=shelf, **VALUES)
    found = Thing.objects.get(pk=made.pk)
    assert {name: getattr(found, name) for name in VALUES} == VALUES
    assert (found.token, found.shelf) == (made.token, shelf)
    tell("large", found.large)


@case
def queries() -> None:
    shelf = Shelf.objects.create(name="many")
    Thing.objects.bulk_create([Thing(shelf=shelf, name=f"thing {at}", count=at, price=at) for at in range(300)])
    assert Thing.objects.filter(shelf__name="many", count__gte=290).count() == 10
    assert Thing.objects.filter(name__contains="thing 29").count() == 11
    assert list(Thing.objects.filter(shelf=shelf).order_by("-count").values_list("count", flat=True)[:3]) == [
        299,
        298,
        297,
    ]
    sums = Shelf.objects.annotate(n=models.Count("things"), top=models.Max("things__count")).order_by("name")
    assert [(one.name, one.n, one.top) for one in sums] == [("many", 300, 299), ("top", 1, 7)]
    assert Thing.objects.filter(shelf=shelf).update(count=models.F("count") + 1) == 300
    assert Thing.objects.get(name="thing 0").count == 1
    merged, created = Thing.objects.update_or_create(shelf=shelf, name="thing 0", defaults={"count": 50})
    assert (merged.count, created) == (50, False)
    gone = Thing.objects.filter(name__in=[f"thing {at}" for at in range(200, 300)]).delete()
    assert gone == (100, {"shop.Thing": 100})
    assert len(Thing.objects.filter(shelf=shelf, count__lte=60)) == 60
    assert Thing.objects.filter(shelf=shelf).count() == 200


@case
def integrity_errors() -> None:
    with transaction.atomic():
        error = refused(IntegrityError, Shelf.objects.create, name="top")
    assert "UNIQUE constraint failed: shop_shelf.name" in str(error)
    assert Shelf.objects.get_or_create(name="top")[1] is False
    assert "NOT NULL" in str(refused(IntegrityError, Thing.objects.create, name=None))
    assert "CHECK" in str(refused(IntegrityError, Thing.objects.create, name="x", count=-1))
    assert "FOREIGN KEY" in str(refused(IntegrityError, Thing.objects.create, name="x", shelf_id=999))
    with connection.cursor() as cursor:
        assert "no such table" in str(refused(OperationalError, cursor.execute, "SELECT * FROM nowhere"))
    assert Shelf.objects.count() == 2


@case
def transactions_and_savepoints() -> None:
    def broken() -> None:
        with transaction.atomic():
            Shelf.objects.create(name="lost")
            raise KeyError

    refused(KeyError, broken)
    with transaction.atomic():
        Shelf.objects.create(name="outer")
        with transaction.atomic():
            Shelf.objects.create(name="inner")
    hooks: list[str] = []
    with transaction.atomic():
        transaction.on_commit(lambda: hooks.append("ran"))
        assert hooks == []
    assert hooks == ["ran"]
    assert set(Shelf.objects.values_list("name", flat=True)) == {"top", "many", "outer", "inner"}


@case
def schema_changes() -> None:
    field = models.CharField(max_length=10, default="none")
    field.set_attributes_from_name("colour")
    longer = models.CharField(max_length=200)
    longer.set_attributes_from_name("name")
    with connection.schema_editor() as editor:
        editor.add_field(Shelf, field)
    with connection.schema_editor() as editor:
        editor.alter_field(Thing, Thing._meta.get_field("name"), longer)
    with connection.cursor() as cursor:
        cursor.execute("SELECT colour FROM shop_shelf WHERE name = %s", ["top"])
        assert cursor.fetchone() == ("none",)
        kinds = {
            one.name: one.display_size for one in connection.introspection.get_table_description(cursor, "shop_thing")
        }
    assert kinds["name"] == 200
    assert Thing.objects.count() == 201


@case
def threads_at_once_add_up() -> None:
    failed: list[BaseException] = []

    def work() -> None:
        try:
            for _ in range(10):
                Thing.objects.filter(name=VALUES["name"]).update(count=models.F("count") + 1)
        except Exception as error:  # noqa: BLE001  # told to case
            failed.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert Thing.objects.get(name=VALUES["name"]).count == 47
    tell("count", 47)


@case
def the_connection_comes_again() -> None:
    connection.close()
    assert Shelf.objects.count() == 4
    tell("shelves", sorted(Shelf.objects.values_list("name", flat=True)))


main()
