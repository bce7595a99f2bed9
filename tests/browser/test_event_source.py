"""The events' address in anybody's page, with the few lines that the documentation gives."""

from __future__ import annotations

from collections.abc import Callable

from playwright.sync_api import Page

from tests.e2e.platform import Platform

EXAMPLE = """<!doctype html>
<title>0 %</title>
<p id="status"></p>
<script>
  window.seen = [];
  const events_url = location.hash.slice(1);

  const es = new EventSource(events_url);
  es.onmessage = (e) => {
    const data = JSON.parse(e.data);
    document.querySelector("#status").textContent = `${data.status} ${data.progress} ${data.message}`;
    window.seen.push([data.status, data.progress, data.message, data.artifact_url, data.final]);
  };
</script>
"""


def test_the_documented_example_works_and_stops_by_itself(here: Platform, open_page: Callable[..., Page]):
    page = open_page("about:blank")
    page.route("**/example", lambda route: route.fulfill(body=EXAMPLE, content_type="text/html"))
    answers: list[int] = []
    page.on("response", lambda answer: answers.append(answer.status) if "/events" in answer.url else None)
    cast = here.cast("greet", {"name": "Ada"})
    page.goto(f"{here.url}/example#{cast['events_url']}")
    page.wait_for_function("window.seen.at(-1)?.[4]")
    seen = page.evaluate("window.seen")
    assert [final for *_, final in seen] == [False] * (len(seen) - 1) + [True]
    progress = [value for _, value, *_ in seen]
    assert progress == sorted(progress)
    assert progress[-1] == 100
    status, _, message, artifact_url, _ = seen[-1]
    assert (status, message) == ("succeeded", "Done.")
    assert here.call("GET", artifact_url.removeprefix(here.url), headers={"Authorization": ""}).status_code == 200
    # It never calls close(): the server does, EventSource comes back once, and 204 tells it to stay away.
    page.wait_for_function("es.readyState === EventSource.CLOSED")
    assert answers == [200, 204]
    assert page.evaluate("window.seen.length") == len(seen)


FETCH = """async ([events_url]) => {
  const headers = {"Last-Event-ID": "0", "Cache-Control": "no-cache"};
  const text = await (await fetch(events_url, {headers})).text();
  const last = JSON.parse(text.trim().split("\\n").findLast((line) => line.startsWith("data: ")).slice(6));
  const file = await fetch(last.artifact_url, {headers: {"If-None-Match": '"another"'}});
  const named = (name) => file.headers.get(name);
  return [text.includes("id: 1\\n"), last.output, named("etag"), named("content-disposition"), named("repr-digest")];
}"""


def test_a_page_of_another_origin_may_fetch_with_headers_of_its_own(here: Platform, open_page: Callable[..., Page]):
    ended = here.ended(here.cast("greet", {"name": "Zoë ✅"})["cast_id"])
    page = open_page(here.github + "/versions", quiet=False)  # any page of another origin that is on this machine
    whole, output, etag, disposition, digest = page.evaluate(FETCH, [ended["events_url"]])
    assert whole
    assert output == ended["output"]
    assert etag.strip('"') == ended["artifacts"][0]["digest"].removeprefix("sha256:")
    assert "spell-result.zip" in disposition
    assert digest.startswith("sha-256=:")
