"""The operator's console of casts: the story, the search, acts on many, caps, and lists as CSV."""

import csv
import datetime as dt
import io
import re

import pytest
from django.contrib import admin
from django.contrib.auth.models import Permission
from django.template import Context, Template
from django.test import Client
from django.utils import timezone

from accounts import budget, keys
from accounts.audit.models import AuditEntry
from accounts.models import Account
from casts.admin import bulk
from casts.callbacks import endpoints
from casts.lifecycle import ending
from casts.models import Callback, CallbackAttempt, Cast
from core.admin.lists import Number
from core.rationing.visits import Visit, visit
from tests.casts.client import Api
from tests.casts.conftest import accept_cast
from tests.casts.test_admin import posted
from tests.console import ended_cast, listed, page, running_cast, shown
from webhooks.models import Delivery

CASTS = "/admin/casts/cast/"


def story_of(client, cast):
    return shown(page(client, f"{CASTS}{cast.pk}/change/"))


def staff(django_user_model, *codenames):
    user = django_user_model.objects.create_user("clerk", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=codenames))
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture
def placed(secret, spell):
    """A cast as a caller places it, with all that it can be found by."""
    body = {"spell_key": spell.key, "input": {"name": "Ada"}, "metadata": {"order": "A-17"}}
    visiting = visit.set(Visit("192.0.2.1", "192.0.2.1"))
    try:
        answer = Api(secret).post("/cast", body, **{"Idempotency-Key": "order-17", "X-Request-Id": "req-4711"})
    finally:
        visit.reset(visiting)
    return Cast.objects.get(pk=answer.json()["cast_id"])


# --- the story -------------------------------------------------------------------------------------------------------


def test_everything_that_touched_a_cast_is_in_one_timeline_in_order(admin_client, account, api_key, spell, placed):
    endpoints.add_endpoint(account, url="https://example.com/hook", types=["cast.succeeded"])
    cast = ended_cast(api_key, spell)
    AuditEntry.objects.create(
        **{"at": cast.created_at, "actor_kind": "key", "actor": "sk_x", "action": "cast.create", "object_kind": "cast"},
        **{"object_id": str(cast.pk), "request_id": "req-1", "address": "192.0.2.1"},
    )
    Delivery.objects.create(
        **{"guid": "g", "event": "workflow_run", "action": "completed", "body": "{}", "outcome": "applied"},
        **{"repository": cast.run_scope, "run_id": int(cast.run_key or 0), "received_at": cast.finished_at},
    )
    callback = Callback.objects.get(cast=cast)
    at = callback.created_at + dt.timedelta(seconds=75)
    CallbackAttempt.objects.create(callback=callback, at=at, url=callback.url, status_code=503, duration_ms=9)
    text = page(admin_client, f"{CASTS}{cast.pk}/change/")
    timeline = text[text.index("Timeline</h2>") : text.index("Request</h2>")]
    read = shown(timeline)
    told = ("cast.create", "hold", "dispatched", "webhook", "callback, try 1 503 from https://example.com/hook")
    places = [read.index(word) for word in told]
    assert places == sorted(places)
    assert "from 192.0.2.1, request req-1 sk_x" in read
    assert "+1 min 15 s callback, try 1" in read
    for row in (
        *(f"/admin/casts/castevent/{event.pk}/change/" for event in cast.events.all()),
        f"/admin/casts/callback/{callback.pk}/change/",
        f"/admin/webhooks/delivery/{Delivery.objects.get().pk}/change/",
        f"/admin/accounts/auditentry/{AuditEntry.objects.get(request_id='req-1').pk}/change/",
    ):
        assert f'href="{row}"' in timeline
        page(admin_client, row)
    assert "request req-4711" in story_of(admin_client, placed)
    assert "Idempotency-Key: order-17 Metadata" in story_of(admin_client, placed)


def test_what_one_may_not_view_is_left_out_of_the_story_and_said_to_be(django_user_model, placed):
    read = story_of(staff(django_user_model, "view_cast"), placed)
    assert "Not shown, for want of permission: ledger entries, audit log, callbacks, deliveries." in read
    assert "req-4711" not in read
    assert "hold" not in read[read.index("Timeline") : read.index("Request")]
    assert "What can be done" not in read
    assert "Cast again …" not in read


def test_a_cast_that_cost_twice_shows_its_twin_and_what_tells_them_apart(admin_client, secret, spell, placed):
    body = {"spell_key": spell.key, "input": {"name": "Ada"}}
    twin = Api(secret).post("/cast", body, **{"Idempotency-Key": "order-17b"}).json()["cast_id"]
    read = story_of(admin_client, placed)
    assert f"the same input {twin} : queued ," in read
    Api(secret).post("/cast", body | {"input": {"name": "Bea"}})
    assert read.count("the same input") == story_of(admin_client, placed).count("the same input") == 1


# --- the search ------------------------------------------------------------------------------------------------------


def test_casts_are_found_by_all_that_somebody_has_of_one(admin_client, secret, spell, placed):
    other, _ = keys.create(Account.objects.create(name="Elsewhere"), name="x")
    accept_cast(api_key=other, spell=spell, input={}, metadata={"order": "B-1"})
    for term, number, said in (
        (str(placed.pk)[:13], 2, "2 casts by the first digits of the id."),
        (str(placed.pk).replace("-", "")[:30], 1, "1 cast by the first digits of the id."),
        ("req-4711", 1, "1 cast by request id."),
        ("order-17", 1, "1 cast by Idempotency-Key."),
        ("order=A-17", 1, "1 cast by metadata order."),
        ("order = A-17", 1, "1 cast by metadata order."),
        ("A-17", 1, "1 cast by a value in the metadata."),
        ("elsewhere", 1, "“elsewhere” is in the name of 1 account."),
        ("order=A-1", 0, "Nothing is found by that. Give a cast's id or at least its first 6 digits;"),
    ):
        # Ids of the same moment share their first digits.
        found = listed(admin_client, CASTS, q=term)
        assert found == number or (term == str(placed.pk)[:13] and found == 1), term
        assert said.removeprefix("2 casts") in shown(page(admin_client, CASTS, q=term)), term
    # Metadata is found for the account that is filtered by, alone.
    assert listed(admin_client, CASTS, q="order=A-17", account__id__exact=other.account_id) == 0


# --- acts on many ----------------------------------------------------------------------------------------------------


def chosen(action, **more):
    return {"action": action, "index": "0", "select_across": "1", "_selected_action": "all", **more}


def test_each_account_reads_in_its_own_log_what_operators_did_to_its_casts(admin_client, api_key, make_spell, spell):
    other = Account.objects.create(name="elsewhere")
    theirs = keys.create(other, name="theirs")[0]
    casts = [running_cast(api_key, spell), running_cast(theirs, spell), running_cast(api_key, spell)]
    ids = [str(cast.pk) for cast in casts]
    admin_client.post(CASTS, {"action": "cancel", "index": "0", "_selected_action": ids, "confirmed": "1"})
    entries = AuditEntry.objects.filter(action="admin.cast.cancel")
    told = {entry.account_id: (entry.object_id, (entry.after or {})["rows"]) for entry in entries}
    assert told == {api_key.account_id: ("", [ids[0], ids[2]]), other.pk: (ids[1], [ids[1]])}
    admin_client.post(CASTS, chosen("look_now", confirmed="1"))
    looks = AuditEntry.objects.filter(action="admin.cast.look_now")
    assert {entry.account_id for entry in looks} == {api_key.account_id, other.pk}
    assert [entry.after for entry in looks] == [{"rows": ["all that are shown"]}] * 2


def test_an_act_on_many_tells_first_and_is_done_once(admin_client, api_key, spell, make_spell):
    ended, _ = ended_cast(api_key, spell, failed=True), ended_cast(api_key, make_spell("other", price_cents=7))
    running_cast(api_key, spell)
    preview = admin_client.post(CASTS, chosen("cast_again")).content.decode()
    told = shown(preview)
    assert "2 casts of 3 chosen." in told
    assert "Holds up to 0.12 USD of their accounts' money anew" in told
    assert "1 left alone: they are open" in told
    for row in ("State Casts failed 1 succeeded 1", "Spell Casts greet 1 other 1", "Account Casts Unseen University 2"):
        assert row in told, row
    assert Cast.objects.count() == 3
    assert not AuditEntry.objects.filter(action="admin.cast.cast_again").exists()
    upto = Cast.objects.latest("pk").pk
    late = ended_cast(api_key, spell)
    confirmed = chosen("cast_again", confirmed="1", upto=str(upto))
    assert "Cast again: 2 of 3." in shown(admin_client.post(CASTS, confirmed, follow=True).content.decode())
    assert "Cast again: 0 of 3." in shown(admin_client.post(CASTS, confirmed, follow=True).content.decode())
    assert ended.retries.count() == 1
    assert not late.retries.exists()


def test_what_a_request_has_no_time_for_is_asked_for_again(admin_client, api_key, spell, monkeypatch):
    monkeypatch.setattr(bulk, "PATIENCE", -1.0)
    monkeypatch.setattr(bulk, "AT_ONCE", 2)
    for _ in range(5):
        accept_cast(api_key=api_key, spell=spell, input={})
    told = shown(admin_client.post(CASTS, chosen("cancel", confirmed="1")).content.decode())
    assert "Casts cancelled, or their runs asked to end: 2 of 2." in told
    assert "3 are left" in told
    assert "3 casts of 5 chosen" in told
    for left in (3, 1):
        assert Cast.objects.filter(status="queued").count() == left
        admin_client.post(CASTS, chosen("cancel", confirmed="1"))
    assert Cast.objects.filter(status_reason="cancelled_by_operator").count() == 5


def test_buttons_on_a_casts_page_are_for_who_may_press_them_and_ask_where_it_costs(admin_client, api_key, spell):
    cast = ended_cast(api_key, spell)
    sent = {"action": "cast_again", "index": "0", "_selected_action": str(cast.pk), "back": "row"}
    asked = shown(admin_client.post(CASTS, sent).content.decode())
    assert f"Cast {cast.pk} of “greet” for Unseen University." in asked
    assert "Holds up to 0.05 USD" in asked
    answer = admin_client.post(CASTS, sent | {"confirmed": "1"}, follow=True)
    assert answer.redirect_chain == [(f"{CASTS}{cast.pk}/change/", 302)]
    read = shown(answer.content.decode())
    assert f"retried as {cast.retries.get().pk}" in read
    assert "Cast again …" not in read  # once
    ending.cancel(cast.retries.get().pk, by="somebody")
    assert "a retry of" in story_of(admin_client, cast.retries.get())


# --- CSV -------------------------------------------------------------------------------------------------------------


def test_a_list_is_downloaded_as_it_is_filtered_and_nothing_is_a_formula(
    admin_client, django_user_model, api_key, spell
):
    cast = ended_cast(api_key, spell, failed=True)
    running_cast(api_key, spell)
    Account.objects.update(name="=cmd()")
    assert f'href="{CASTS}csv/?status__exact=failed"' in page(admin_client, CASTS, status__exact="failed")
    answer = admin_client.get(f"{CASTS}csv/", {"status__exact": "failed"})
    [row] = csv.DictReader(io.StringIO(b"".join(answer).decode()))
    assert (row["id"], row["account.name"], row["charged_cents"]) == (str(cast.pk), "'=cmd()", "5")
    entry = AuditEntry.objects.get(action="admin.cast.export")
    assert entry.after == {"rows": 1, "query": "status__exact=failed"}
    text = b"".join(admin_client.get("/admin/accounts/apikey/csv/")).decode()
    assert text.splitlines()[0] == "name,prefix,account,state,scopes,spell_keys,expires_at,revoked_at,last_used_at"
    assert api_key.digest not in text
    assert staff(django_user_model, "view_spell").get(f"{CASTS}csv/").status_code == 403


# --- caps ------------------------------------------------------------------------------------------------------------


def test_caps_of_keys_and_spells_are_set_on_the_accounts_page(admin_client, account, api_key, spell):
    path = f"/admin/accounts/account/{account.pk}/change/"
    accept_cast(api_key=api_key, spell=spell, input={})

    def save(*rows, initial=0):
        counts = {"TOTAL_FORMS": len(rows), "INITIAL_FORMS": initial}
        fields = {"name": account.name, "membership_set-TOTAL_FORMS": 0, "membership_set-INITIAL_FORMS": 0}
        fields |= {"retention_rules-TOTAL_FORMS": 0, "retention_rules-INITIAL_FORMS": 0}
        fields |= {"monthly_cap_cents": account.monthly_cap_cents} | {f"caps-{k}": v for k, v in counts.items()}
        fields |= {f"caps-{n}-{k}": v for n, row in enumerate(rows) for k, v in row.items()}
        return admin_client.post(path, fields | {"caps-0-account": account.pk})

    assert f'value="key:{api_key.pk}"' in page(admin_client, path)
    new = {"of": f"key:{api_key.pk}", "cap_cents": "50"}
    assert save(new, {"of": "spell:greet", "cap_cents": "70"}).status_code == 302
    read = shown(page(admin_client, path))
    assert "0.05 USD 0.00 USD 0.45 USD" in read
    kept = {"id": account.caps.get(scope="key").pk, "cap_cents": "60"}
    gone = {"id": account.caps.get(scope="spell").pk, "cap_cents": "70", "DELETE": "on"}
    assert save(kept, gone, initial=2).status_code == 302
    assert [(cap.scope, cap.cap_cents) for cap in account.caps.all()] == [("key", 60)]
    assert budget.cap_of(account, scope="spell", ref="greet") is None
    entries = AuditEntry.objects.filter(action="budget.set_cap", account_id=account.pk).order_by("id")
    told = [(one.object_id, (one.before or {})["cap_cents"], (one.after or {})["cap_cents"]) for one in entries]
    ours = f"key:{api_key.pk}"
    assert sorted(told, key=str) == sorted(
        [(ours, None, 50), ("spell:greet", None, 70), (ours, 50, 60), ("spell:greet", 70, None)], key=str
    )
    assert "It has a cap: change that one." in save(kept, new, initial=1).content.decode()


# --- a spell before it is saved --------------------------------------------------------------------------------------


def test_a_spells_form_is_shown_as_members_get_it_before_it_is_saved(admin_client, django_user_model, spell):
    path = f"/admin/casts/spell/{spell.pk}/try/preview/"
    schema = '{"type": "object", "required": ["tone"], "properties": {"tone": {"enum": ["kind", "<b>dry</b>"]}}}'
    assert f'formaction="{path}"' in page(admin_client, f"/admin/casts/spell/{spell.pk}/change/")
    text = admin_client.post(path, posted(name="Renamed", input_schema=schema)).content.decode()
    assert "Renamed" in text
    assert "&lt;b&gt;dry&lt;/b&gt;" in text
    assert text.count("<option") == 3
    spell.refresh_from_db()
    assert spell.name != "Renamed"
    assert admin_client.post(path, posted(input_schema="[]")).status_code == 422
    assert admin_client.get(path).status_code == 405
    watcher = staff(django_user_model, "view_spell")
    assert watcher.post(path, posted()).status_code == 403
    assert watcher.post("/admin/casts/spell/try/preview/", posted()).status_code == 403
    assert "console-tries" not in page(watcher, f"/admin/casts/spell/{spell.pk}/change/")


def test_each_list_says_what_it_is_for():
    silent = [model._meta.label for model, shown in admin.site._registry.items() if not getattr(shown, "purpose", "")]
    assert silent == []


def test_counts_have_thousand_separators():
    # A template writes a number as its text; comparing and adding go on with the number.
    shown = Template("{{ n }} cast{{ n|pluralize }}{% if n > 200 %}, many{% endif %}")
    assert shown.render(Context({"n": Number(2313)})) == "2,313 casts, many"


def test_the_list_has_what_a_cast_cost_and_not_what_it_might_have(admin_client, make_cast):
    given_back, open_one = make_cast(), make_cast()
    Cast.objects.filter(pk=given_back.pk).update(
        status="failed", cost_cents=5, charged_cents=0, finished_at=timezone.now()
    )
    Cast.objects.filter(pk=open_one.pk).update(cost_cents=7)
    text = page(admin_client, CASTS)
    prices = dict(re.findall(r'cast/([0-9a-f-]{36})/change.*?field-cost">(.*?)</td>', text, re.DOTALL))
    assert prices[str(given_back.pk)] == "0.00 USD"
    assert "0.07 USD" in prices[str(open_one.pk)]
    assert "held" in prices[str(open_one.pk)]


def test_the_audit_log_shows_who_raised_a_cap(admin_client, account):
    AuditEntry.objects.create(
        **{"at": timezone.now(), "actor_kind": "key", "actor": "sk_x", "account_id": account.pk},
        **{"action": "budget.set_cap", "before": {"cap_cents": 1000}, "after": {"cap_cents": 2000}},
    )
    assert "cap cents: 1000 → 2000" in page(admin_client, "/admin/accounts/auditentry/")
