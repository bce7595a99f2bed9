"""Through which of the App's installations casts go."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.db.models import BigIntegerField, CharField, QuerySet, Value
from django.db.models.functions import Cast as AsType
from django.db.models.functions import Coalesce, NullIf

from casts.models import Cast
from casts.runtime import Route
from github_integration.models import WorkflowTarget

NONE = "0"


def installation() -> Any:
    """Return the expression for a cast's installation, the setting filled in; 0 if there is none."""
    named = NullIf(f"spell__{WorkflowTarget.relation()}__installation_id", Value(0))
    number = Coalesce(named, Value(settings.GITHUB_APP_INSTALLATION_ID or 0), output_field=BigIntegerField())
    return AsType(number, CharField())


def said(route: str) -> str:
    return f"installation {route}" if route != NONE else "no installation"


def through(casts: QuerySet[Cast], installation_id: int) -> QuerySet[Cast]:
    """Return those of the casts that go through one installation."""
    return casts.alias(installation=installation()).filter(installation=str(installation_id))


ROUTE = Route(of_casts=installation, parameter="installation", said=said)
