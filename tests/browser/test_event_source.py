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
