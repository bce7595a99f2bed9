"""Being staff opens the admin's front page and nothing of what is in it; secrets are not even guessed."""

from __future__ import annotations

import pytest
from django.contrib import admin
from django.contrib.auth.models import Permission
from django.db.models import Model
from django.test import Client

from casts.callbacks import endpoints
from tests.one_of_each import every_model, one_of_each

pytestmark = pytest.mark.django_db


@pytest.fixture
def staff(django_user_model):
    """Return a browser of a member of staff with these permissions."""

    def make(*codenames):
        user = django_user_model.objects.create_user("staff", is_staff=True)
        user.user_permissions.set(Permission.objects.filter(codename__in=codenames))
        browser = Client()
        browser.force_login(user)
        return browser

    return make


def pages(model: type[Model], row: Model) -> list[str]:
    name = f"/admin/{model._meta.app_label}/{model._meta.model_name}/"
    return [name, f"{name}add/", *(f"{name}{row.pk}/{page}/" for page in ("change", "history", "delete"))]


def test_staff_without_permissions_see_and_do_nothing(staff, account, api_key, spell):
    rows, browser = one_of_each(account, api_key, spell), staff()
    shown = [model for model in every_model() if admin.site.is_registered(model)]
    assert len(shown) >= 10
    for model in shown:
        for path in pages(model, rows[model]):
            assert browser.get(path).status_code == 403, path
        listing = pages(model, rows[model])[0]
        for action in admin.site._registry[model].actions or ():
            sent = {"action": getattr(action, "__name__", action), "_selected_action": str(rows[model].pk)}
            assert browser.post(listing, sent).status_code == 403, sent
    attention = browser.get("/admin/attention/").text
    assert "You may not look at anything" in attention
    assert not any(str(row.pk) in attention for row in rows.values() if len(str(row.pk)) > 8)


@pytest.mark.parametrize(
    ("path", "lookup"),
    [
        ("casts/callbackendpoint", "sealed_secrets__startswith"),
        ("casts/callbackendpoint", "sealed_secrets__icontains"),
        ("casts/callbackendpoint", "account__sealed_callback_secrets__icontains"),
        ("accounts/account", "sealed_callback_secrets__startswith"),
        ("accounts/account", "sealed_callback_secrets"),
        ("accounts/account", "casts__input__icontains"),
        ("accounts/apikey", "digest__startswith"),
    ],
)
def test_no_list_is_filtered_by_what_it_does_not_show(staff, account, api_key, path, lookup):
    endpoints.add_endpoint(account, url="https://a.example/", types=["cast.failed"])
    endpoints.secrets_of(account)
    browser = staff(f"view_{path.partition('/')[2]}")
    assert browser.get(f"/admin/{path}/").status_code == 200
    assert browser.get(f"/admin/{path}/", {lookup: "whsec_"}).status_code == 400
