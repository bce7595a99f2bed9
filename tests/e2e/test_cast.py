"""The main road, on real processes."""

import hashlib

from tests.e2e.platform import Platform


def test_a_workflow_dispatch_cast_succeeds_with_output_and_artifact(here: Platform):
    cast = here.cast("greet", {"name": "Ada", "times": 2})
    assert cast["status"] == "queued"
    assert not cast["final"]
    ended = here.ended(cast["cast_id"])
    assert (ended["status"], ended["progress"], ended["final"]) == ("succeeded", 100, True)
    [run] = [r for r in here.record()["runs"] if r["cast_id"] == cast["cast_id"]]
    assert ended["run_url"].endswith(f"/runs/{run['id']}")
    [artifact] = ended["artifacts"]
    body = here.call("GET", f"/api/v1/casts/{cast['cast_id']}/artifacts/{artifact['name']}").content
    assert f"sha256:{hashlib.sha256(body).hexdigest()}" == artifact["digest"]
