"""The operator's console: spells, casts, artifacts."""

import html
import json
import re

import pytest
from django.contrib.auth.models import Permission

from accounts import keys
from accounts.audit.models import AuditEntry
from accounts.models import Account
from casts import versions
from casts.models import AccountPrice, Artifact, Cast, CastEvent, Spell
from github_integration.models import WorkflowTarget
from tests.casts.conftest import accept_cast
from tests.console import HOSTILE, claimed, ended_cast, listed, page, queries, refuses_changes, running_cast, shown
from tests.spells import parted

SPELLS, CASTS, ARTIFACTS = "/admin/casts/spell/", "/admin/casts/cast/", "/admin/casts/artifact/"


@pytest.mark.parametrize("path", [SPELLS, CASTS, ARTIFACTS])
def test_the_console_is_for_staff(client, django_user_model, db, path):
    client.force_login(django_user_model.objects.create_user("visitor"))
    answer = client.get(path)
    assert (answer.status_code, answer.headers["Location"]) == (302, f"/admin/login/?next={path}")


# --- spells ----------------------------------------------------------------------------------------------------------


def posted(**changes):
    filled = {
        "key": "greet", "name": "Greet", "description": "", "active": "on", "runtime": "workflow_dispatch",
        "repository": "demo/spells", "workflow_file": "cast.yml", "ref": "", "event_type": "", "installation_id": "",
        "input_schema": '{"type": "object"}', "output_schema": "", "price_cents": "5", "charge_failed_runs": "on",
        "timeout_seconds": "60", "ttl_seconds": "60", "artifact_retention_days": "3",
        "show_run": "on", "show_input": "on", "result_artifact": "spell-result", "result_file": "result.json",
        "input_mapping": "envelope", "matching": "answer_or_tag", "price_kind": "flat",
        "account_prices-TOTAL_FORMS": "0", "account_prices-INITIAL_FORMS": "0",
        "retention_rules-TOTAL_FORMS": "0", "retention_rules-INITIAL_FORMS": "0",
    }  # fmt: skip
    return inline(filled | changes)


def inline(fields):
    """Return a form's fields with those of the spell's target named as the page names them."""
    own, of_target = parted(fields)
    known = WorkflowTarget.objects.first()
    of_target |= {"id": known.pk, "spell": known.spell_id} if known else {}
    counts = {"TOTAL_FORMS": "1", "INITIAL_FORMS": "1" if known else "0"}
    named = {f"workflowtarget-{name}": value for name, value in counts.items()}
    return own | named | {f"workflowtarget-0-{name}": value for name, value in of_target.items()}


def test_a_spell_is_made_and_changed(admin_client):
    assert 'class="vLargeTextField console-code"' in page(admin_client, f"{SPELLS}add/")
    assert admin_client.post(f"{SPELLS}add/", posted()).status_code == 302
    spell = Spell.objects.get()
    assert (spell.key, spell.input_schema, spell.output_schema) == ("greet", {"type": "object"}, None)
    form = page(admin_client, f"{SPELLS}{spell.pk}/change/")
    assert "{\n  &quot;type&quot;: &quot;object&quot;\n}" in form
    changed = posted(input_schema="", output_schema='{"title": "Grüße"}', ref="v2", active="")
    assert admin_client.post(f"{SPELLS}{spell.pk}/change/", changed).status_code == 302
    spell.refresh_from_db()
    assert (spell.input_schema, spell.output_schema, spell.active) == ({}, {"title": "Grüße"}, False)
    assert WorkflowTarget.objects.get().ref == "v2"
    assert "Grüße" in page(admin_client, f"{SPELLS}{spell.pk}/change/")
    assert (spell.show_run, spell.show_input) == (True, True)
    unticked = {name: value for name, value in changed.items() if name not in ("show_run", "show_input")}
    assert admin_client.post(f"{SPELLS}{spell.pk}/change/", unticked).status_code == 302
    spell.refresh_from_db()
    assert (spell.show_run, spell.show_input) == (False, False)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"key": "Not a key"}, "Use lower-case letters"),
        ({"repository": "nowhere"}, "Write the repository as owner/name."),
        ({"workflow_file": "../cast.yml"}, "Name the file in .github/workflows"),
        ({"runtime": "repository_dispatch"}, "A repository_dispatch spell needs the event type it sends."),
        ({"input_schema": "{"}, "Enter a valid JSON."),
        ({"input_schema": "[]"}, "A schema is a JSON object"),
        ({"input_schema": '{"type": "strange"}'}, "Not a JSON Schema (2020-12)"),
        ({"input_schema": '{"$ref": "file:///etc/passwd"}'}, "Not a JSON Schema (2020-12)"),
        ({"input_schema": '{"default": NaN}'}, "This can't be stored"),
        ({"input_schema": r'{"default": "\u0000"}'}, "This can't be stored"),
        ({"input_schema": "[" * 100_000}, "This can't be stored"),
        ({"output_schema": "[]"}, "A schema is a JSON object"),
        ({"output_schema": '""'}, "A schema is a JSON object"),
        ({"output_schema": '"text"'}, "A schema is a JSON object"),
        ({"timeout_seconds": "0"}, "greater than or equal to 1"),
        ({"price_kind": "per_minute"}, "Say what a started minute costs."),
        ({"price_kind": "per_minute", "per_minute_cents": "6"}, "more than the maximum of 5"),
        ({"per_minute_cents": "2"}, "Only a price per started minute has it"),
        ({"price_kind": "reported", "result_artifact": ""}, "Without a result artifact there is no result"),
    ],
)
def test_a_spell_that_could_not_work_is_refused_beside_the_field(admin_client, changes, complaint):
    answer = admin_client.post(f"{SPELLS}add/", posted(**changes))
    text = shown(answer.content.decode())
    assert complaint in text
    assert "Please correct the error" in text
    assert not Spell.objects.exists()


def test_an_account_is_given_its_own_price_on_the_spells_page_and_its_audit_log_says_so(admin_client, account, spell):
    path = f"{SPELLS}{spell.pk}/change/"

    def save(**row):
        row_id = AccountPrice.objects.values_list("pk", flat=True).first()
        given = {"spell": spell.pk, "account": account.pk, "price_kind": "flat", "note": "", **row}
        counts = {"TOTAL_FORMS": 1, "INITIAL_FORMS": int(row_id is not None), "0-id": row_id or ""}
        named = {f"account_prices-{n}": v for n, v in (counts | {f"0-{n}": v for n, v in given.items()}).items()}
        return admin_client.post(path, posted(**named))

    assert "Say what a started minute costs." in save(price_kind="per_minute", price_cents=9).content.decode()
    assert save(price_cents=2, note="A friend").status_code == 302
    assert save(price_cents=3, note="A friend").status_code == 302
    assert "price of greet for Unseen University" in shown(page(admin_client, path))
    assert save(price_cents=3, note="A friend", DELETE="on").status_code == 302
    entries = AuditEntry.objects.filter(action="spell.set_price", account_id=account.pk).order_by("id")
    told = [tuple(facts and facts["price_cents"] for facts in (one.before, one.after)) for one in entries]
    assert told == [(None, 2), (2, 3), (3, None)]
    assert entries[0].after == {
        **{"spell_key": "greet", "price_kind": "flat", "price_cents": 2, "per_minute_cents": None}
    }  # the account reads this, and not the operators' note
    assert Spell.objects.get().version == 2  # the form's own change: an account's price makes no version


def test_who_may_only_look_sees_schemas_as_json_in_their_order(client, django_user_model, spell):
    watcher = django_user_model.objects.create_user("watcher", is_staff=True)
    watcher.user_permissions.add(Permission.objects.get(codename="view_spell"))
    client.force_login(watcher)
    Spell.objects.update(input_schema={"type": "object", "default": None, "a": True})
    seen = page(client, f"{SPELLS}{spell.pk}/change/")
    assert "{\n  &quot;type&quot;: &quot;object&quot;,\n  &quot;default&quot;: null,\n  &quot;a&quot;: true\n}" in seen
    assert "&#x27;type&#x27;" not in seen


def test_who_may_change_spells_may_change_where_they_run(client, django_user_model, spell):
    user, path = django_user_model.objects.create_user("author", is_staff=True), f"{SPELLS}{spell.pk}/change/"
    client.force_login(user)
    for codename, may_change in (("view_spell", False), ("change_spell", True)):
        assert client.post(path, posted(ref="v3")).status_code == 403
        user.user_permissions.add(Permission.objects.get(codename=codename))
        seen = page(client, path)
        assert "cast.yml" in seen
        assert ('name="workflowtarget-0-ref"' in seen) is may_change
    assert client.post(path, posted(ref="v3")).status_code == 302
    assert WorkflowTarget.objects.get().ref == "v3"


def test_what_was_typed_is_kept_when_it_is_refused(admin_client):
    answer = admin_client.post(f"{SPELLS}add/", posted(input_schema='{"type": oops', output_schema='{"a": [1]}'))
    assert "{&quot;type&quot;: oops" in answer.content.decode()
    assert "&quot;a&quot;: [\n" in answer.content.decode()


def test_what_was_learnt_of_a_workflow_is_forgotten_with_it(admin_client, spell):
    Spell.objects.update(tags_runs=True)
    path = f"{SPELLS}{spell.pk}/change/"
    admin_client.post(path, posted(name="Renamed", ttl_seconds="99"))
    spell.refresh_from_db()
    assert (spell.name, spell.tags_runs) == ("Renamed", True)
    admin_client.post(path, posted(workflow_file="other.yml"))
    spell.refresh_from_db()
    assert (WorkflowTarget.objects.get().workflow_file, spell.tags_runs) == ("other.yml", False)


def test_spells_are_listed_with_target_price_and_casts(admin_client, api_key, make_spell, settings):
    settings.GITHUB_REPOSITORY = "the/default"
    greet = make_spell(price_cents=1250)
    make_spell("blank", repository="", workflow_file="", active=False)
    make_spell("event", runtime="repository_dispatch", event_type="go")
    for _ in range(2):
        accept_cast(api_key=api_key, spell=greet, input={})
    text = page(admin_client, SPELLS)
    assert "demo/spells: cast.yml @ main 12.50 USD" in shown(text)
    assert "the/default: spell-execution-example.yml @ main" in shown(text)
    assert "demo/spells: event go" in shown(text)
    assert f'<a href="{CASTS}?spell__id__exact={greet.pk}">2</a>' in text
    assert listed(admin_client, CASTS, spell__id__exact=greet.pk) == 2
    for query, found in (({"active__exact": 0}, 1), ({"runtime__exact": "repository_dispatch"}, 1), ({"q": "gre"}, 1)):
        assert listed(admin_client, SPELLS, **query) == found


def test_a_spell_that_was_cast_can_not_be_deleted(admin_client, api_key, spell, make_spell):
    accept_cast(api_key=api_key, spell=spell, input={})
    unused = make_spell("unused")
    assert 'class="deletelink"' not in page(admin_client, f"{SPELLS}{spell.pk}/change/")
    assert admin_client.post(f"{SPELLS}{spell.pk}/delete/", {"post": "yes"}).status_code == 403
    both = {"action": "delete_selected", "_selected_action": [str(spell.pk), str(unused.pk)], "post": "yes"}
    admin_client.post(SPELLS, both)
    assert Spell.objects.count() == 2
    assert admin_client.post(f"{SPELLS}{unused.pk}/delete/", {"post": "yes"}).status_code == 302
    assert Spell.objects.get() == spell


# --- their versions --------------------------------------------------------------------------------------------------


def versions_page(client, spell, query="", status=200):
    answer = client.get(f"{SPELLS}{spell.pk}/versions/{query}")
    assert answer.status_code == status
    return answer.content.decode()


def lines_shown(text):
    """Return the signs and texts of a difference's lines."""
    found = re.findall(r'<tr class="([a-z-]+)"><th scope="row">.*?</th><td>(.*?)</td></tr>', text, re.DOTALL)
    return [(kind, html.unescape(line)) for kind, line in found]


@pytest.fixture
def thrice(admin_client, spell):
    """Change a spell twice by its form."""
    path = f"{SPELLS}{spell.pk}/change/"
    schema = json.dumps({"properties": {f"p{n:02}": {"type": "string"} for n in range(30)}, "title": HOSTILE})
    assert admin_client.post(path, posted(input_schema=schema, description="one\ntwo")).status_code == 302
    schema = schema.replace('"p15": {"type": "string"}', '"p15": {"type": "integer"}')
    assert admin_client.post(path, posted(input_schema=schema, description="one\n2", ref="v2")).status_code == 302
    return spell


def test_a_spells_page_lists_its_versions_and_what_each_changed(admin_client, admin_user, thrice):
    text = page(admin_client, f"{SPELLS}{thrice.pk}/change/")
    assert f'href="{SPELLS}{thrice.pk}/versions/?of=3&amp;than=2"' in text
    said = re.findall(r"<td>([a-z_, ]+[0-9a-z_ ]*)</td></tr>", text)
    assert said[0] == "description, ref, input_schema"
    assert said[-1] == "the first that was kept"
    assert text.count(f"<td>{admin_user.username}</td>") == 2


def test_two_versions_are_compared_line_by_line_with_some_of_what_is_the_same(admin_client, thrice):
    text = versions_page(admin_client, thrice)
    assert HOSTILE not in text
    lines = lines_shown(text)
    assert [line for kind, line in lines if kind == "went"] == ["two", 'ref = ""', '      "type": "string"']
    assert [line for kind, line in lines if kind == "came"] == ["2", 'ref = "v2"', '      "type": "integer"']
    assert ("same", '    "p15": {') in lines
    assert any(kind == "left-out" for kind, _ in lines)
    assert len(lines) < 50
    assert lines_shown(versions_page(admin_client, thrice, "?of=3&than=2")) == lines
    backwards = lines_shown(versions_page(admin_client, thrice, "?of=2&than=3"))
    assert [line for kind, line in backwards if kind == "went"] == ["2", 'ref = "v2"', '      "type": "integer"']
    whole = versions_page(admin_client, thrice, "?of=1")
    assert {kind for kind, _ in lines_shown(whole)} == {"came"}
    assert "These two are the same." in versions_page(admin_client, thrice, "?of=2&than=2")


@pytest.mark.parametrize("query", ["?of=4", "?of=3&than=9", "?of=x", "?of=-1", "?of=٣", "?than=99999999999999999999"])
def test_a_version_that_there_never_was_is_not_found(admin_client, thrice, query):
    versions_page(admin_client, thrice, query, status=404)


def test_who_may_look_at_spells_may_compare_them(client, django_user_model, spell):
    address = f"{SPELLS}{spell.pk}/versions/"
    assert client.get(address).headers["Location"].startswith("/admin/login/")
    for permission, status in (("view_cast", 403), ("view_spell", 200), ("change_spell", 200)):
        staff = django_user_model.objects.create_user(permission, is_staff=True)
        staff.user_permissions.add(Permission.objects.get(codename=permission))
        client.force_login(staff)
        assert client.get(address).status_code == status
        assert client.get(f"{SPELLS}999/versions/").status_code == (404 if status == 200 else 403)


def test_definitions_of_any_size_are_compared(admin_client, spell):
    """Schemas may come from a repository, whose owner may want the console busy."""
    for turn in (0, 1):
        values = [str((n * 7919 + turn) % 5000) for n in range(8000)]
        Spell.objects.filter(pk=spell.pk).update(input_schema={"enum": values, "$comment": "x" * turn})
        versions.keep(spell)
    assert len(lines_shown(versions_page(admin_client, spell))) > 100


def test_the_audit_log_names_the_version_that_a_form_made(admin_client, thrice):
    for _ in range(2):
        admin_client.post(f"{SPELLS}{thrice.pk}/change/", posted(active="", description="x"))
    changes = AuditEntry.objects.filter(action="admin.spell.change").order_by("id")
    noted = [((entry.before or {}).get("version"), (entry.after or {}).get("version")) for entry in changes]
    assert noted == [(1, 2), (2, 3), (3, 4), (None, None)]


def test_a_casts_page_says_under_which_version_it_was_accepted(admin_client, api_key, thrice):
    thrice.refresh_from_db()
    cast = accept_cast(api_key=api_key, spell=thrice, input={})
    address = f"{CASTS}{cast.pk}/change/"
    assert ">version 3</a>, the latest" in page(admin_client, address)
    admin_client.post(f"{SPELLS}{thrice.pk}/change/", posted(price_cents="9"))
    link = f'<a href="{SPELLS}{thrice.pk}/versions/?of=4&amp;than=3">version 3 (the spell is at 4)</a>'
    assert link in page(admin_client, address)
    Cast.objects.update(spell_version=None)
    assert "accepted before versions were kept" in page(admin_client, address)


# --- casts -----------------------------------------------------------------------------------------------------------


def test_a_cast_tells_its_whole_story(admin_client, api_key, spell):
    cast = ended_cast(api_key, spell, failed=True)
    text = page(admin_client, f"{CASTS}{cast.pk}/change/")
    read = shown(text)
    for event in cast.events.all():
        assert f"{event.at:%m-%d %H:%M:%S} " in read
        assert f"{event.seq} {event.kind.replace('_', ' ')} {event.data['message']}" in read
    for said in (
        "run failed",
        "Hello Ada",
        '"reason": "run_failed"',
        '"order": "Ada"',
        "2.0 KB",
        "ab" * 32,
        "No more Ada",
    ):
        assert said in read, said
    assert "End of its log: Ada Artifacts" in read
    assert "hold 0.05 USD" in read
    assert "capture 0.05 USD" in read
    links = (
        f'<a href="{cast.run_url}" rel="noreferrer" target="_blank">{cast.run_key}</a>',
        f'<a href="/casts/{cast.pk}/">progress page</a>',
        f'<a href="/casts/{cast.pk}/" class="viewsitelink">',
        f'<a href="/admin/webhooks/delivery/?q={cast.run_key}">',
        f'<a href="/api/v1/casts/{cast.pk}/artifacts/spell-result">spell-result</a>',
        f'<a href="/admin/accounts/account/{cast.account_id}/change/">',
        f'<a href="/admin/accounts/apikey/{cast.api_key_id}/change/">',
        f'<a href="/admin/casts/spell/{cast.spell_id}/change/">',
    )
    for link in links:
        assert link in text, link
    page(admin_client, f"/admin/webhooks/delivery/?q={cast.run_key}")
    assert admin_client.get(f"/casts/{cast.pk}/").status_code == 200
    # The worker's own columns are there, folded away; and no column is forgotten.
    internal = text[text.index(">Internal</h2>") :]
    for name in ("due_at", "lease_until", "attempts", "claim_number", "dispatch_attempts", "dispatch_started_at"):
        assert f'class="form-row field-{name}"' in internal, name


def test_a_cast_that_has_just_begun_opens_too(admin_client, api_key, spell):
    cast = accept_cast(api_key=api_key, spell=spell, input={"name": "Ada"})
    read = shown(page(admin_client, f"{CASTS}{cast.pk}/change/"))
    assert "Accepted; waiting for a worker." in read
    Cast.objects.update(api_key=None)
    page(admin_client, f"{CASTS}{cast.pk}/change/")
    page(admin_client, CASTS)


def test_nobody_changes_a_cast(admin_client, api_key, spell):
    cast = ended_cast(api_key, spell)
    before = Cast.objects.values().get()
    refuses_changes(admin_client, "casts.cast", cast.pk)
    refuses_changes(admin_client, "casts.artifact", Artifact.objects.earliest("pk").pk)
    assert Cast.objects.values().get() == before
    assert Artifact.objects.count() == 2


def test_casts_are_found(admin_client, account, api_key, make_spell):
    greet, other = make_spell(), make_spell("other", repository="wizards/books")
    wanted = ended_cast(api_key, greet, failed=True)
    elsewhere, _ = keys.create(Account.objects.create(name="Elsewhere"), name="x")
    running_cast(elsewhere, other)
    accept_cast(api_key=elsewhere, spell=other, input={})
    for term, found in (
        (str(wanted.pk), 1),
        (str(wanted.pk).upper(), 1),
        (wanted.run_tag, 1),
        (f"http://testserver/casts/{wanted.pk}/", 1),
        (str(wanted.run_key), 1),
        (wanted.run_url, 1),
        (f"{wanted.run_url}/job/77", 1),
        ("9" * 18, 0),
        ("9" * 40, 0),
        ("wizards/books", 2),
        ("other", 2),
        ("unseen", 1),
        (elsewhere.prefix, 2),
        ("greet unseen", 1),
        ("%", 0),
        ("no such thing", 0),
    ):
        assert listed(admin_client, CASTS, q=term) == found, term


def test_casts_are_filtered(admin_client, api_key, make_spell):
    greet, other = make_spell(), make_spell("other")
    ended_cast(api_key, greet, failed=True)
    running_cast(api_key, other)
    accept_cast(api_key=api_key, spell=other, input={})
    for query, found in (
        ({}, 3),
        ({"status__exact": "failed"}, 1),
        ({"status__exact": "queued"}, 1),
        ({"status_reason": "run_failed"}, 1),
        ({"status_reason": "gone"}, 0),
        ({"spell__id__exact": other.pk}, 2),
        ({"account__id__exact": api_key.account_id}, 3),
        ({"created_at__gte": "2020-01-01 00:00:00+00:00"}, 3),
        ({"created_at__lt": "2020-01-01 00:00:00+00:00"}, 0),
        ({"status__exact": "running", "q": "other"}, 1),
    ):
        assert listed(admin_client, CASTS, **query) == found, query
    assert "?status_reason=run_failed" in page(admin_client, CASTS)


def test_casts_are_listed_newest_first(admin_client, api_key, spell):
    casts = [ended_cast(api_key, spell) for _ in range(3)]
    text = page(admin_client, CASTS)
    places = [text.index(str(cast.pk)) for cast in casts]
    assert places == sorted(places, reverse=True)


def test_artifacts_are_found_and_their_files_linked(admin_client, api_key, spell):
    cast, other = ended_cast(api_key, spell), ended_cast(api_key, spell)
    for query, found in (({}, 4), ({"q": str(cast.pk)}, 2), ({"q": "spell-res"}, 2), ({"state__exact": "failed"}, 2)):
        assert listed(admin_client, ARTIFACTS, **query) == found, query
    for artifact in other.artifacts.all():
        text = page(admin_client, f"{ARTIFACTS}{artifact.pk}/change/")
        assert ("/artifacts/spell-result" in text) == (artifact.state == "stored")


# --- what others wrote is text ---------------------------------------------------------------------------------------


def test_what_a_run_wrote_is_text(admin_client, api_key, make_spell):
    spell = make_spell(name=HOSTILE, description=HOSTILE)
    cast = ended_cast(api_key, spell, failed=True, text=HOSTILE, url="javascript:alert(3)")
    Artifact.objects.create(cast=cast, name=f"a/{HOSTILE}", remote_id=2, state="stored")
    Cast.objects.update(callback_url="javascript:alert(4)", step_name=HOSTILE, status_reason=HOSTILE[:40])
    CastEvent.objects.update(kind=HOSTILE[:40])
    detail = page(admin_client, f"{CASTS}{cast.pk}/change/")
    assert shown(detail).count("<script>alert(1)</script>") > 10
    for path in (CASTS, SPELLS, f"{SPELLS}{spell.pk}/change/", ARTIFACTS):
        assert "&lt;script&gt;alert(1)" in page(admin_client, path), path
    for artifact in cast.artifacts.all():
        page(admin_client, f"{ARTIFACTS}{artifact.pk}/change/")
    for path in (CASTS, f"{CASTS}{cast.pk}/change/"):
        assert 'href="javascript' not in page(admin_client, path).lower()


def test_a_huge_value_is_cut(admin_client, api_key, spell):
    cast = claimed(accept_cast(api_key=api_key, spell=spell, input={"text": "x" * 500_000}))
    text = page(admin_client, f"{CASTS}{cast.pk}/change/")
    assert len(text) < 300_000
    assert "characters more" in text


# --- queries ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [CASTS, ARTIFACTS, SPELLS])
def test_lists_need_as_many_queries_for_many_rows(admin_client, make_spell, path):
    def fill(count, made=0):
        for number in range(made, made + count):
            key, _ = keys.create(Account.objects.create(name=f"Account {number}"), name="x")
            ended_cast(key, make_spell(f"spell-{number}"))

    fill(3)
    few = queries(admin_client, path)
    fill(27, made=3)
    assert queries(admin_client, path) == few < 12


def test_the_list_of_casts_does_not_read_their_data(admin_client, api_key, spell, django_assert_max_num_queries):
    ended_cast(api_key, spell)
    with django_assert_max_num_queries(12) as asked:
        page(admin_client, CASTS)
    [rows] = [q["sql"] for q in asked.captured_queries if '"run_url"' in q["sql"]]
    assert not [name for name in ("input", "output", "jobs", "observation") if f'"casts_cast"."{name}"' in rows]


def test_a_casts_page_needs_few_queries_however_long_its_history(admin_client, api_key, spell):
    cast = ended_cast(api_key, spell)
    page(admin_client, f"{CASTS}{cast.pk}/change/")  # what is asked once is kept
    few = queries(admin_client, f"{CASTS}{cast.pk}/change/")
    data = json.loads(json.dumps(cast.events.earliest("seq").data))
    CastEvent.objects.bulk_create(
        CastEvent(cast=cast, seq=100 + n, kind="step", data=data, at=cast.created_at) for n in range(200)
    )
    assert queries(admin_client, f"{CASTS}{cast.pk}/change/") == few < 20
