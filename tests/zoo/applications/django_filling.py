"""Fills every model of a Django project, through Django; what a model or a constraint refuses is left out."""

from __future__ import annotations

import datetime as dt
import uuid
from decimal import Decimal
from typing import Any

import django
from django.apps import apps
from django.conf import settings

from tests.frameworks.obeying import DATABASE, Reading, plain
from tests.zoo.applications.connecting import libpq

_MOMENT = dt.datetime(2024, 2, 29, 23, 59, 58, tzinfo=dt.UTC)
_TEXTS = ("plain", "Zoë 🐘", 'it\'s; -- "quoted"', "line\nline\t", "0012", "null", "true", "1e5", "2024-01-01", "")


def database(url: str) -> dict[str, Any]:
    """`DATABASES["default"]`."""
    if url.startswith("sqlite:///"):
        options = {"timeout": 30}
        return {"ENGINE": "django.db.backends.sqlite3", "NAME": url.removeprefix("sqlite:///"), "OPTIONS": options}
    parts = libpq(url)
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": parts["dbname"], "USER": parts["user"], "HOST": parts["host"], "PORT": parts["port"],
    }  # fmt: skip


class Filled:
    """A Django project, its models filled one by one."""

    def __init__(self, **more: Any) -> None:
        settings.configure(
            DATABASES={"default": database(DATABASE)},
            SECRET_KEY="of no consequence",
            USE_TZ=True,
            DEFAULT_AUTO_FIELD="django.db.models.AutoField",
            ROOT_URLCONF=__name__,
            **more,
        )
        django.setup()

    def migrate(self) -> None:
        """`manage.py migrate`."""
        from django.core.management import call_command

        call_command("migrate", verbosity=0)

    def seed(self) -> None:
        """Rows in every table."""
        self.write(0)

    def write(self, turn: int) -> None:
        """New rows in every model, some old ones changed, the newest removed."""
        for number in range(turn * 100, turn * 100 + 5):
            for model in _models():
                _try(lambda m=model, n=number: _make(m, n))
        for model in _models():
            _try(lambda m=model: _change(m, turn * 100 + 50))
        for model in reversed(_models()):
            _try(lambda m=model: _remove(m))

    def read(self) -> Reading:
        """Every row of every model, as Django's objects."""
        found: Reading = {}
        for model in _models():
            names = [field.attname for field in model._meta.concrete_fields]
            found[model._meta.label] = {
                repr(row[0]): repr([plain(value) for value in row])
                for row in model._base_manager.values_list("pk", *names)
            }
        return found


def _models() -> list[Any]:
    return [model for model in apps.get_models(include_auto_created=True) if model._meta.managed]


def _try(act: Any) -> None:
    from django.db import transaction

    try:
        with transaction.atomic():
            act()
    except Exception as error:  # models refuse variously
        if "cutover" in str(error):
            raise


def _make(model: Any, number: int) -> None:
    values = {}
    for field in model._meta.concrete_fields:
        if field.primary_key and not field.remote_field and field.get_internal_type().endswith("AutoField"):
            continue
        if getattr(field, "generated", False):
            continue
        if field.null and number % 5 == 4:
            continue
        values[field.attname] = _value(field, number)
    made = model(**values)
    if getattr(model, "depth", None) is not None and hasattr(model, "add_root"):
        made = model.add_root(instance=made)
    else:
        made.save()


def _change(model: Any, number: int) -> None:
    fields = [
        field for field in model._meta.concrete_fields
        if not (field.primary_key or field.unique or field.remote_field or getattr(field, "generated", False))
    ]  # fmt: skip
    for index, row in enumerate(model._base_manager.order_by("pk")[:4]):
        changed = {field.attname: _value(field, number + index) for field in fields[index::4]}
        if changed and not hasattr(model, "add_root"):
            _try(lambda r=row, c=changed: model._base_manager.filter(pk=r.pk).update(**c))


def _remove(model: Any) -> None:
    newest = model._base_manager.order_by("-pk").first()
    if newest is not None and model._base_manager.count() > 3:
        newest.delete()


def _value(field: Any, number: int) -> Any:  # noqa: C901  # one per type
    if field.remote_field:
        keys = list(field.remote_field.model._base_manager.order_by("pk").values_list("pk", flat=True)[:40])
        return keys[number % len(keys)] if keys else None
    if field.choices:
        flat = [value for value, _ in field.flatchoices]
        return flat[number % len(flat)]
    kind = field.get_internal_type()
    if "Boolean" in kind:
        return number % 2 == 0
    if kind == "DateTimeField":
        return _MOMENT + dt.timedelta(hours=number, microseconds=number % 3 * 1001)
    if kind == "DateField":
        return _MOMENT.date() + dt.timedelta(days=number)
    if kind == "TimeField":
        return dt.time(number % 24, 0, 0, number % 3)
    if kind == "DurationField":
        return dt.timedelta(days=number % 9, microseconds=number)
    if kind == "DecimalField":
        return Decimal(number).scaleb(-field.decimal_places)
    if kind == "FloatField":
        return (0.0, 1.5, -2.25, 1e-300, 0.1)[number % 5]
    if kind == "UUIDField":
        return uuid.UUID(int=number + 1)
    if kind == "JSONField":
        return ({"b": 1, "a": [None, "ü"]}, {}, [1, 2.5])[number % 3]
    if kind == "BinaryField":
        return bytes([number % 256, 0, 255])
    if kind == "GenericIPAddressField":
        return f"10.0.0.{number % 256}"
    if "Integer" in kind:
        return number + 1 if field.unique else number
    length = field.max_length or 60
    text = f"{field.name}-{number}" if field.unique or number % 3 or "Slug" in kind else _TEXTS[number % len(_TEXTS)]
    return text[-length:]


urlpatterns: list[Any] = []
