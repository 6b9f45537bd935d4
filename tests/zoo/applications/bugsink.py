"""Bugsink: every model of its own applications."""

from __future__ import annotations

from tests.frameworks.obeying import obey
from tests.zoo.applications.django_filling import Filled

obey(
    Filled(
        INSTALLED_APPS=[
            "django.contrib.admin", "django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions",
            "django.contrib.messages", "phonehome", "users", "theme", "snappea", "compat", "teams", "projects",
            "releases", "ingest", "issues", "events", "tags", "alerts", "performance", "files", "bsmain", "api",
        ],
        AUTH_USER_MODEL="users.User",
    )
)  # fmt: skip
