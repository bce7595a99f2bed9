"""The progress page, as people see it."""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import pytest
from django.core import signing
from playwright.sync_api import Page, expect

from tests.browser.conftest import held
from tests.e2e.platform import Platform
from tests.strong import SECRET_KEY

OpenPage = Callable[..., Page]
ENDED = "main[data-final=true]"


def part(page: Page, name: str):
    return page.locator(f"main [data-part={name}]")


def markup(page: Page) -> list[str]:
    """Return what the page shows, tag by tag, without what differs each time, such as tokens in links."""
    html = re.sub(r"token=[\w.:-]+", "token=…", page.locator("main").inner_html())
    html = re.sub(r' open=""|just now|\d+ minutes? ago', "", html)  # the reader's, and the time's
    return [line.strip() for line in html.replace("<", "\n<").splitlines() if line.strip()]


def as_the_server_says(page: Page) -> None:
    """Check that the script has left the page just as the server renders it."""
    live, title = markup(page), page.title()
    page.reload()
    assert title == page.title()
    assert live == markup(page)


def test_the_page_goes_from_queued_to_succeeded_without_a_reload(here: Platform, open_page: OpenPage, tmp_path: Path):
    with held(here):
        cast = here.cast("greet", {"name": "Ada", "times": 2})
        page = open_page(cast["progress_url"])
        expect(page).to_have_title("0 % · Greet somebody")
        expect(part(page, "status")).to_have_text("Queued")
        expect(part(page, "clock_label")).to_have_text("Waiting for")
        expect(part(page, "price")).to_have_text("0.01 USD, held")
        expect(page.locator("#connection")).to_have_text("live")
        page.evaluate("""() => {
            window.seen = [];
            const main = document.querySelector("main"), bar = main.querySelector("progress");
            new MutationObserver(() => window.seen.push([main.dataset.status, bar.value, document.title]))
                .observe(main, { subtree: true, childList: true, attributes: true, characterData: true });
        }""")
    expect(page.locator(".step[data-state=running]")).to_have_count(1)
    page.wait_for_selector(ENDED)

    seen = page.evaluate("window.seen")  # the window's own memory: no reload has wiped it
    assert list(dict.fromkeys(status for status, _, _ in seen)) == ["queued", "running", "succeeded"]
    values = [value for _, value, _ in seen]
    assert values == sorted(values)
    assert len(set(values)) > 3
    assert any(re.fullmatch(r"\d\d % · Greet somebody", title) for _, _, title in seen)

    expect(page).to_have_title("Succeeded · Greet somebody")
    expect(page.locator("#connection")).to_be_hidden()
    expect(part(page, "clock_label")).to_have_text("Took")
    expect(page.locator(".job-name")).to_have_text("Cast the spell")
    names = ["Fetch the action", "Read the scroll", "Gather the ingredients", "Cast"]
    names += ["Write the report", "Keep the result"]
    assert page.locator(".step-name:visible").all_inner_texts() == names  # not the runner's own
    page.get_by_label("All steps").check()
    assert page.locator(".step-name").all_inner_texts() == ["Set up job", *names, "Complete job"]
    assert set(page.locator(".step-word").all_inner_texts()) == {"done"}
    expect(page.get_by_role("region", name="Output", exact=True)).to_contain_text("Hello, Ada!")
    expect(page.get_by_role("region", name="Summary").get_by_role("heading", level=3)).to_have_text("greet")
    expect(part(page, "price")).to_have_text("0.01 USD, charged")
    expect(page.get_by_role("region", name="What was asked")).to_contain_text("times")
    run_url = here.get(cast["cast_id"])["run_url"]
    expect(page.get_by_role("link", name="Open the run on GitHub")).to_have_attribute("href", run_url)

    with page.expect_download() as begun:
        page.get_by_role("link", name="spell-result.zip").click()
    begun.value.save_as(tmp_path / "got")
    got = (tmp_path / "got").read_bytes()
    assert begun.value.suggested_filename == "spell-result.zip"
    expect(page.locator(".digest")).to_have_text(f"sha256:{hashlib.sha256(got).hexdigest()}")
    assert got == here.call("GET", f"/api/v1/casts/{cast['cast_id']}/artifacts/spell-result").content
    as_the_server_says(page)


def test_a_failed_cast_shows_where_it_failed_and_the_end_of_the_log(here: Platform, open_page: OpenPage):
    cast = here.cast("stumble", {"reason": "a loose cobblestone"})
    page = open_page(cast["progress_url"], viewport={"width": 1100, "height": 1400})
    page.wait_for_selector(ENDED)
    expect(page).to_have_title("Failed · Stumble")
    trouble = page.get_by_role("region", name="What went wrong")
    expect(trouble).to_contain_text("Step Cast of job Cast the spell failed.")
    expect(part(page, "headline")).to_have_text("The spell stumbled: a loose cobblestone")
    trouble.get_by_text("The end of its log").click()
    expect(trouble.locator(".line[data-level=error]").first).to_have_text("##[error]a loose cobblestone")
    expect(trouble.locator(".line").last).to_be_in_viewport()  # a long log opens at its end
    states = page.locator("main .step").evaluate_all("all => all.map(one => one.dataset.state)")
    assert states == [*["success"] * 4, "failure", "skipped", "skipped", "success"]
    without_progress(page, price="0.05 USD, given back")
    as_the_server_says(page)


def without_progress(page: Page, *, price: str) -> None:
    """Check that a cast that came to nothing claims no percentage, and says what became of its price."""
    expect(part(page, "price")).to_have_text(price)
    expect(page.get_by_role("progressbar")).to_have_count(0)
    assert "100 %" not in page.locator("main").inner_text()


def test_a_refused_cast_says_so_and_not_where_it_would_have_run(here: Platform, open_page: OpenPage):
    with held(here):
        page = open_page(here.cast("misplaced", {"to": "the library"})["progress_url"])
        expect(part(page, "price")).to_have_text("0.03 USD, held")
    page.wait_for_selector(ENDED)
    expect(part(page, "message")).to_have_text("GitHub refused to start the run; the operator can see why.")
    without_progress(page, price="0.03 USD, given back")
    assert not {"nowhere.yml", "demo/spells", "the library"} & set(re.split(r"[\s\"<>]", page.content()))
    expect(page.get_by_role("link", name="Open the run on GitHub")).to_have_count(0)
    expect(page.get_by_role("region", name="What was asked")).to_have_count(0)
    as_the_server_says(page)


def test_a_cancelled_cast_shows_no_hundred_percent(here: Platform, open_page: OpenPage):
    with held(here):
        cast = here.cast("greet", {"name": "Ada"})
        page = open_page(cast["progress_url"])
        expect(page.locator("#connection")).to_have_text("live")
        assert here.call("POST", f"/api/v1/casts/{cast['cast_id']}/cancel").status_code == 202
        page.wait_for_selector(ENDED)
        expect(page).to_have_title("Cancelled · Greet somebody")
        without_progress(page, price="0.01 USD, given back")
        as_the_server_says(page)


@pytest.mark.parametrize(
    ("spell", "input", "texts"),
    [
        ("hostile", {"fail": False}, ["window.hurt = 'key'", "window.hurt = 'value'", "1.0,", "12345678901234567890,"]),
        ("hostile", {"fail": True}, ['window.hurt = "failed step"', 'window.hurt = "log"', 'window.hurt="error"']),
        ("strict", {"fail": False}, ["window.hurt = 'key'", "/output"]),
    ],
    ids=["output", "failure", "broken schema"],
)
def test_what_a_run_says_stays_text(here: Platform, open_page: OpenPage, spell: str, input: object, texts: list[str]):
    page = open_page(here.cast(spell, input)["progress_url"], viewport={"width": 375, "height": 800})
    page.wait_for_selector(ENDED)
    for _ in ("as the script wrote it", "as the server did"):
        page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
        shown = page.locator("main").inner_text()
        assert all(text in shown for text in [*texts, '<script>window.hurt = "job"</script>', "<img src=x onerror="])
        assert page.evaluate("window.hurt") is None
        assert page.locator("main :is(script, img, iframe, [onerror], [onload])").count() == 0
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "wider than the phone"
        as_the_server_says(page)


def test_without_javascript_the_page_refreshes_itself_until_the_end(here: Platform, open_page: OpenPage):
    with held(here):
        page = open_page(here.cast("greet", {"name": "Ada"})["progress_url"], java_script_enabled=False)
        expect(part(page, "status")).to_have_text("Queued")
        expect(page.locator("noscript p")).to_have_text("refreshes every 5 seconds")
    expect(part(page, "status")).to_have_text("Succeeded", timeout=20_000)
    expect(part(page, "percent")).to_have_text("100 %")
    expect(page.get_by_role("region", name="Output", exact=True)).to_contain_text("Hello, Ada!")
    assert "http-equiv" not in page.content()


def test_the_page_reconnects_when_the_web_process_is_replaced(here: Platform, open_page: OpenPage):
    with held(here):
        page = open_page(here.cast("greet", {"name": "Ada"})["progress_url"], quiet=False)
        connection = page.locator("#connection")
        expect(connection).to_have_text("live")
        here.stop("web")
        expect(connection).to_have_text("reconnecting…")
        here.start("web")
        expect(connection).to_have_text("live")
    page.wait_for_selector(ENDED)
    expect(part(page, "status")).to_have_text("Succeeded")


def old_token(cast_id: str) -> str:
    """Return a token that the platform made a month ago; see casts.links."""
    with mock.patch("time.time", return_value=time.time() - 31 * 86_400):
        return (
            signing.TimestampSigner(key=SECRET_KEY, salt=f"casts.links:{cast_id}", sep=".").sign("r").removeprefix("r.")
        )


def test_a_link_that_does_not_open_says_so(here: Platform, open_page: OpenPage):
    mine, other = (here.cast("greet", {"name": "Ada"}) for _ in range(2))
    page = open_page("about:blank", quiet=False)
    address = f"{here.url}/casts/{mine['cast_id']}/"
    foreign = other["progress_url"].partition("token=")[2]
    for token in (foreign, old_token(mine["cast_id"]), "nonsense", ""):
        answer = page.goto(f"{address}?token={token}")
        assert answer is not None
        assert answer.status == 403
        expect(page.get_by_role("heading", level=1)).to_have_text("This link doesn\u2019t open any more")
        assert "Greet somebody" not in page.content()
    page.goto(address)
    assert "/login/" in page.url


def test_a_page_says_so_when_its_link_is_revoked(here: Platform, open_page: OpenPage):
    with held(here):
        cast = here.cast("greet", {"name": "Ada"})
        page = open_page(cast["progress_url"], quiet=False)
        expect(page.locator("#connection")).to_have_text("live")
        assert here.call("DELETE", f"/api/v1/casts/{cast['cast_id']}/links").status_code == 204
        expect(page.locator("#connection")).to_have_text("access ended")
        answer = page.reload()
        assert answer is not None
        assert answer.status == 403
        expect(page.get_by_role("heading", level=1)).to_have_text("This link doesn\u2019t open any more")


def test_pages_that_do_not_exist_look_like_ours(here: Platform, open_page: OpenPage):
    page = open_page("about:blank", quiet=False)
    answer = page.goto(f"{here.url}/nothing/here")
    assert answer is not None
    assert answer.status == 404
    expect(page.get_by_role("heading", level=1)).to_have_text("There is nothing here")
    expect(page.get_by_text("Spell Platform", exact=True)).to_be_visible()


# By hand what axe would ask first; contrast is WCAG 2's formula for AA.
FAULTS = """() => {
    const faults = [], all = (selector) => [...document.querySelectorAll(selector)];
    const ids = all("[id]").map((one) => one.id);
    if (new Set(ids).size !== ids.length) faults.push("an id twice");
    if (all("h1").length !== 1) faults.push("not one h1");
    if (all("main").length !== 1) faults.push("not one main");
    if (!document.documentElement.lang) faults.push("no language");
    const levels = all(":is(h1, h2, h3)").filter((one) => one.checkVisibility()).map((one) => Number(one.tagName[1]));
    if (levels.some((level, i) => level > (levels[i - 1] ?? 0) + 1)) faults.push(`headings skip: ${levels}`);
    for (const one of all("[aria-labelledby]"))
        if (!document.getElementById(one.getAttribute("aria-labelledby"))) faults.push("a label that is not there");
    for (const one of all("svg:not([aria-hidden])")) faults.push("a picture without words");
    for (const one of all("a")) if (!one.textContent.trim()) faults.push("a link without words");
    for (const one of all("pre")) if (one.tabIndex !== 0) faults.push("scrolls, but not by keyboard");

    const canvas = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
    const rgba = (color) => {
        canvas.clearRect(0, 0, 1, 1);
        canvas.fillStyle = color;
        canvas.fillRect(0, 0, 1, 1);
        return canvas.getImageData(0, 0, 1, 1).data;
    };
    const light = (color) => {
        const [r, g, b] = [...rgba(color)].map((v) => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    for (const one of all("body *").filter((e) => e.checkVisibility() && !e.closest("svg, progress"))) {
        if (![...one.childNodes].some((node) => node.nodeType === 3 && node.data.trim())) continue;
        let ground = one;
        while (rgba(getComputedStyle(ground).backgroundColor)[3] < 255) ground = ground.parentElement;
        const [a, b] = [getComputedStyle(one).color, getComputedStyle(ground).backgroundColor].map(light);
        const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
        if (ratio < 4.5) faults.push(`contrast ${ratio.toFixed(2)}: ${one.textContent.trim()}`);
    }
    return faults;
}"""


def faults(page: Page) -> list[str]:
    found: list[str] = []
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        found += [f"{scheme}: {fault}" for fault in page.evaluate(FAULTS)]
    return found


def test_the_page_serves_everybody(here: Platform, open_page: OpenPage):
    with held(here):
        page = open_page(here.cast("stumble", {})["progress_url"])
        bar = page.get_by_role("progressbar", name="Stumble")
        expect(bar).to_have_attribute("value", "0")
        expect(bar).to_have_attribute("max", "100")
        expect(bar).to_have_attribute("aria-valuetext", "0 %")
        expect(page.get_by_role("status")).to_contain_text("Queued")
        assert page.evaluate("document.getAnimations().length") == 1
        assert faults(page) == []
        assert page.evaluate("document.getAnimations().length") == 0  # faults() asks for reduced motion
    page.wait_for_selector(ENDED)
    expect(page.get_by_role("status")).to_have_text(re.compile(r"Failed\s+The run failed .*a loose cobblestone"))
    without_progress(page, price="0.05 USD, given back")
    assert faults(page) == []
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.get_by_text("##[error]").first).to_be_visible()  # the log, folded until then
    assert page.evaluate("getComputedStyle(document.activeElement).outlineWidth") == "3px"
    assert faults(page) == []


LOG_IN = """
from django.contrib.auth.models import User
from django.test import Client
from accounts.models import Account, Membership
member = User.objects.create_user("{name}")
for account in Account.objects.all():
    Membership.objects.create(account=account, user=member, role="{role}")
browser = Client()
browser.force_login(member)
print("sessionid", browser.cookies["sessionid"].value)
"""


def logged_in(here: Platform, name: str, role: str) -> dict[str, str]:
    """Make a member of every account; return the cookie of a session of theirs."""
    said = here.manage("shell", "-c", LOG_IN.format(name=name, role=role))
    session = re.findall(r"^sessionid (\w+)$", said, re.M)[-1]
    return {"name": "sessionid", "value": session, "url": here.url}


def test_a_member_cancels_casts_again_and_ends_the_links(here: Platform, open_page: OpenPage):
    cookie = logged_in(here, "nina", "member")
    with held(here):
        first = here.cast("greet", {"name": "Ada"})
        own = f"{here.url}/casts/{first['cast_id']}/"
        watched = open_page(own, cookies=[cookie])
        expect(watched.locator("#connection")).to_have_text("live")
        plain = open_page(own, cookies=[cookie], java_script_enabled=False)
        plain.locator("summary", has_text="Cancel").click()
        plain.get_by_role("button", name="Yes, cancel this cast").click()
        expect(part(plain, "status")).to_have_text("Cancelled")
        # By itself, in a window that was open.
        again = watched.get_by_role("button", name="Cast again")
        expect(again).to_be_visible()
        expect(watched.get_by_text("Cancel", exact=True)).to_have_count(0)
        again.dblclick()
        watched.wait_for_url(lambda url: url != own)
        second = watched.url
        expect(part(watched, "status")).to_have_text("Queued")
    watched.wait_for_selector(ENDED)
    expect(watched.get_by_role("button", name="Cast again")).to_be_visible()
    retries = [
        one for one in here.call("GET", "/api/v1/casts").json()["results"] if one["retry_of"] == first["cast_id"]
    ]
    assert [f"{here.url}/casts/{one['cast_id']}/" for one in retries] == [second]

    link = watched.get_by_label("Link").input_value()
    visitor = open_page(link, quiet=False)
    expect(visitor.get_by_text("You came by a link. It opens until")).to_be_visible()
    expect(visitor.get_by_role("navigation")).to_have_count(0)
    watched.get_by_text("End all links to it").press("Enter")
    watched.get_by_role("button", name="Yes, end all links").press("Enter")
    expect(watched.get_by_text("All links that were handed out are ended.")).to_be_visible()
    answer = visitor.reload()
    assert answer is not None
    assert answer.status == 403


HUNDRED_JOBS = """
from casts.models import Cast
cast = Cast.objects.get(pk="{cast_id}")
step = cast.jobs[0]["steps"][1]
steps = [step | {{"number": n, "name": f"step {{n}}", "conclusion": "success"}} for n in range(12)]
jobs = [cast.jobs[0] | {{"id": n, "name": f"job {{n}}", "steps": steps}} for n in range(100)]
Cast.objects.filter(pk=cast.pk).update(jobs=jobs)
"""


def test_steps_of_many_jobs_come_when_they_are_asked_for(here: Platform, open_page: OpenPage):
    cast = here.ended(here.cast("greet", {"name": "Ada"})["cast_id"])
    here.manage("shell", "-c", HUNDRED_JOBS.format(cast_id=cast["cast_id"]))
    page = open_page(cast["progress_url"])
    expect(page.locator(".job")).to_have_count(100)
    expect(page.get_by_text("100 jobs: 100 done")).to_be_visible()
    job = page.locator("#job-91")
    expect(job.locator(".step")).to_have_count(0)
    page.locator("#job-3 summary").click()
    job.locator("summary").press("Enter")
    expect(job.locator(".step")).to_have_count(12)
    expect(job).to_have_attribute("open", "")
    expect(page.locator("#job-3 .step-name").first).to_be_visible()  # it stays as its reader has left it
    plain = open_page(cast["progress_url"], java_script_enabled=False)
    plain.locator("#job-92 summary").click()
    plain.get_by_role("link", name="Show its steps").locator("visible=true").click()
    expect(plain.locator("#job-92 .step-name").first).to_be_visible()


def test_a_viewer_watches_the_status_go_on_and_nothing_else(here: Platform, open_page: OpenPage):
    cookie = logged_in(here, "viewer", "viewer")
    with held(here):
        cast = here.cast("greet", {"name": "Ada Lovelace", "times": 2})
        page = open_page(f"{here.url}/casts/{cast['cast_id']}/", cookies=[cookie])
        expect(page).to_have_title("0 % · Greet somebody")
        expect(page.locator("#connection")).to_have_text("live")
    page.wait_for_selector(ENDED)
    expect(part(page, "message")).to_have_text("It succeeded.")
    expect(part(page, "price")).to_have_text("0.01 USD, charged")
    for hidden in ("#steps", "#output", "#artifacts"):
        expect(page.locator(hidden)).to_be_hidden()
    assert not any(told in page.content() for told in ("Lovelace", "token=", "Gather"))
    as_the_server_says(page)
