"""Oscar: a shop; every model of its applications."""

from __future__ import annotations

from oscar import INSTALLED_APPS, defaults

from tests.frameworks.obeying import obey
from tests.zoo.applications.django_filling import Filled

_DEFAULTS = {name: getattr(defaults, name) for name in dir(defaults) if name.startswith("OSCAR_")}
_SEARCH = {"default": {"ENGINE": "haystack.backends.simple_backend.SimpleEngine"}}

obey(Filled(INSTALLED_APPS=INSTALLED_APPS, SITE_ID=1, HAYSTACK_CONNECTIONS=_SEARCH, **_DEFAULTS))
