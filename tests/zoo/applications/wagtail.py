"""Wagtail: a tree of pages with revisions and a search index, which is another kind of table on each store."""

from __future__ import annotations

from typing import Any

from tests.frameworks.obeying import Reading, obey
from tests.zoo.applications.django_filling import Filled


class Wagtail(Filled):
    """A site of plain pages."""

    def write(self, turn: int) -> None:
        """Pages are made, published, moved, searched for and deleted as editors do; then rows everywhere."""
        from wagtail.models import Page

        root = Page.objects.filter(depth=1).order_by("path").first()
        parent = root.add_child(instance=Page(title=f"Päge {turn}", slug=f"page-{turn}"))
        pages: list[Any] = [
            parent.add_child(instance=Page(title=f"Child {turn} {number}", slug=f"child-{number}"))
            for number in range(4)
        ]
        for page in pages:
            page.title += "!"
            page.save_revision().publish()
        pages[0].refresh_from_db()
        pages[0].move(pages[1], pos="last-child")
        pages[2].unpublish()
        pages[3].delete()
        assert list(Page.objects.search(f"Child {turn}")), "the search finds nothing"
        super().write(turn)

    def read(self) -> Reading:
        """All but the search index, which is to be built anew on the other side (`update_index`)."""
        found = super().read()
        return {name: rows for name, rows in found.items() if not name.endswith("IndexEntry")}


obey(
    Wagtail(
        INSTALLED_APPS=[
            "wagtail.contrib.forms", "wagtail.contrib.redirects", "wagtail.embeds", "wagtail.sites", "wagtail.users",
            "wagtail.snippets", "wagtail.documents", "wagtail.images", "wagtail.search", "wagtail.admin", "wagtail",
            "modelcluster", "taggit", "django.contrib.admin", "django.contrib.auth", "django.contrib.contenttypes",
            "django.contrib.sessions", "django.contrib.messages", "django.contrib.staticfiles",
        ],
        WAGTAILSEARCH_BACKENDS={"default": {"BACKEND": "wagtail.search.backends.database"}},
        WAGTAIL_SITE_NAME="zoo",
        WAGTAILADMIN_BASE_URL="http://127.0.0.1",
        STATIC_URL="/static/",
    )
)  # fmt: skip
