"""The operator's console: installations."""

import datetime as dt

from django.utils import timezone

from accounts.audit.models import AuditEntry
from github_integration.models import Installation, SpellRepository
from github_integration.quota import pause
from tests.console import HOSTILE, listed, page, queries, shown

LIMITED = Installation.Pause.RATE_LIMITED
LIST = "/admin/github_integration/installation/"


def test_an_installations_state_is_said_in_words(admin_client):
    now = timezone.now()
    until = now + dt.timedelta(minutes=5)
    Installation.objects.create(id=1, account_login="fine", paused_until=now)
    Installation.objects.create(id=2, account_login="asleep", suspended_at=now, paused_until=until)
    Installation.objects.create(id=3, account_login="gone", removed_at=now, suspended_at=now)
    pause(4, until=until, reason=LIMITED, message="secondary rate limit")
    pause(0, until=until, reason=LIMITED, message="slow down")
    pause(5, until=until, reason=Installation.Pause.UNAVAILABLE, message="503")
    read = shown(page(admin_client, LIST))
    paused = f"rate limited until {until.astimezone(dt.UTC):%Y-%m-%d %H:%M:%S}"
    for said in (
        "1 fine active",
        "2 asleep suspended",
        "3 gone removed",
        f"4 not told yet {paused} secondary rate limit",
        f"0 the personal token {paused} slow down",
        f"5 not told yet {paused.replace('rate limited', 'waiting for github')} 503",
    ):
        assert said in read
    for number in range(6):
        page(admin_client, f"{LIST}{number}/change/")
    assert listed(admin_client, LIST, q="asleep") == 1


def test_of_an_installation_only_the_choices_about_its_spells_are_changed(admin_client, account):
    row = Installation.objects.create(id=1, account_login="acme")
    repository = SpellRepository.objects.create(number=5, installation=row, name="acme/spells", basis="as it was")
    assert admin_client.get(f"{LIST}add/").status_code == 403
    assert admin_client.post(f"{LIST}1/delete/", {"post": "yes"}).status_code == 403
    form = {"account": account.pk, "limits_from_repository": "on", "new_spell_price_cents": 7, "account_login": "x"}
    assert admin_client.post(f"{LIST}1/change/", form).status_code == 302
    row.refresh_from_db()
    assert (row.account, row.new_spell_price_cents, row.account_login) == (account, 7, "acme")
    entry = AuditEntry.objects.get(action="admin.installation.change")
    assert entry.after is not None
    assert (entry.after["account"], entry.after["new_spell_price_cents"]) == (str(account.pk), 7)
    repository.refresh_from_db()
    assert repository.basis == ""
    assert repository.due_at is not None  # its files are applied anew


def test_what_github_said_is_text(admin_client):
    Installation.objects.create(id=1, account_login=HOSTILE, pause_message=HOSTILE)
    for path in (LIST, f"{LIST}1/change/"):
        assert "&lt;script&gt;alert(1)" in page(admin_client, path)


def test_the_list_needs_as_many_queries_for_many_rows(admin_client):
    Installation.objects.bulk_create(Installation(id=n) for n in range(1, 4))
    few = queries(admin_client, LIST)
    Installation.objects.bulk_create(Installation(id=n) for n in range(4, 31))
    assert queries(admin_client, LIST) == few < 10


def test_the_console_is_for_staff(client, django_user_model, db):
    client.force_login(django_user_model.objects.create_user("visitor"))
    assert client.get(LIST).headers["Location"] == f"/admin/login/?next={LIST}"
