"""The pages about casts, at the site's root."""

from __future__ import annotations

from django.urls import path

from accounts.pages.urls import later
from casts import paths  # noqa: F401 - registers the converters
from casts.live import members
from casts.pages import deeds
from casts.pages.home import home
from casts.pages.progress import progress
from casts.pages.spells import spell, spells
from core import paths as core_paths  # noqa: F401 - likewise

OF_ACCOUNT = "casts.pages.account."

urlpatterns = [
    path("spells/", spells, name="spells-page"),
    path("spells/<str:spell_key>/", spell, name="spell-page"),
    path("home/", home, name="home"),
    path("home/<row:account_id>/events", members.events, name="home-events"),
    path("casts/<any_uuid:cast_id>/", progress, name="cast-page"),
    path("casts/<any_uuid:cast_id>/cancel/", deeds.cancel, name="cast-page-cancel"),
    path("casts/<any_uuid:cast_id>/again/", deeds.again, name="cast-page-again"),
    path("casts/<any_uuid:cast_id>/links/", deeds.end_links, name="cast-page-links"),
    path("account/<int:account_id>/usage/", later(OF_ACCOUNT + "usage.page"), name="account-usage"),
    path("account/<int:account_id>/usage/file/", later(OF_ACCOUNT + "usage.download"), name="account-usage-file"),
    path("account/<int:account_id>/budget/", later(OF_ACCOUNT + "budget.page"), name="account-budget"),
    path("account/<int:account_id>/keys/", later(OF_ACCOUNT + "keys.page"), name="account-keys"),
    path("account/<int:account_id>/keys/new/", later(OF_ACCOUNT + "keys.new"), name="account-keys-new"),
    path("account/<int:account_id>/keys/<int:key_id>/", later(OF_ACCOUNT + "keys.one"), name="account-keys-one"),
    path("account/<int:account_id>/settings/", later(OF_ACCOUNT + "settings.page"), name="account-settings"),
    path("account/<int:account_id>/callbacks/", later(OF_ACCOUNT + "callbacks.callbacks"), name="account-callbacks"),
    path(
        "account/<int:account_id>/callbacks/<str:endpoint_id>/",
        later(OF_ACCOUNT + "callbacks.endpoint"),
        name="account-callbacks-endpoint",
    ),
]
