import time

from .conftest import SECRET, Api

ORDER = [
    "workflow_run.requested", "workflow_job.queued", "workflow_run.in_progress", "workflow_job.in_progress",
    "workflow_job.completed", "workflow_run.completed",
]  # fmt: skip


def test_hook_is_pinged_once_at_the_start(receiver, server, api):
    receiver.wait_for(api.start("quick.yml", {"cast_id": "p"}))
    ours = [headers for headers, _ in receiver.got if headers["x-github-hook-installation-target-id"] == "1"]
    assert [headers["x-github-event"] for headers in ours].count("ping") == 1


def test_run_is_told_in_order_with_githubs_headers(api: Api, receiver):
    run_id = api.start("quick.yml", {"cast_id": "hooked"})
    assert receiver.wait_for(run_id) == ORDER
    headers, body = next((h, b) for h, b in receiver.got if b.get("workflow_run", {}).get("id") == run_id)
    assert headers["user-agent"].startswith("GitHub-Hookshot/")
    assert headers["x-github-hook-installation-target-type"] == "integration"
    assert headers["x-github-hook-installation-target-id"] == "1"
    assert headers["x-github-hook-id"]
    assert len(headers["x-github-delivery"]) == 36
    assert body["installation"]["id"] == 77
    assert body["workflow_run"]["display_title"] == "quick [cast:hooked]"


def test_delivery_log_has_pages_details_and_redelivery(api: Api, as_app: Api, receiver):
    run_id = api.start("quick.yml", {"cast_id": "log"})
    receiver.wait_for(run_id)
    time.sleep(0.05)
    page = as_app.get("/app/hook/deliveries?per_page=3")
    assert len(page.json()) == 3
    following = as_app.get(page.links["next"]["url"].removeprefix(as_app.base)).json()
    assert following[0]["id"] < page.json()[-1]["id"]
    newest = page.json()[0]
    assert (newest["event"], newest["action"], newest["status"], newest["status_code"]) == (
        "workflow_run", "completed", "OK", 202,
    )  # fmt: skip
    details = as_app.get(f"/app/hook/deliveries/{newest['id']}").json()
    assert details["request"]["payload"]["workflow_run"]["id"] == run_id
    assert details["request"]["headers"]["X-GitHub-Delivery"] == newest["guid"]
    assert as_app.post(f"/app/hook/deliveries/{newest['id']}/attempts").status_code == 202
    assert receiver.wait_for(run_id, count=2).count("workflow_run.completed") == 2
    time.sleep(0.05)
    again = as_app.get("/app/hook/deliveries?per_page=1").json()[0]
    assert (again["guid"], again["redelivery"]) == (newest["guid"], True)
    assert as_app.get("/app/hook/deliveries/1").status_code == 404


def test_hook_config_masks_the_secret_and_can_be_changed(as_app: Api, server, receiver):
    shown = as_app.get("/app/hook/config").json()
    assert (shown["url"], shown["secret"]) == (receiver.url, "********")
    changed = as_app("PATCH", "/app/hook/config", json={"secret": "new"})
    assert changed.status_code == 200
    assert server.world.hooks.secret == "new"
    as_app("PATCH", "/app/hook/config", json={"secret": SECRET})


def test_dropped_delivery_is_in_the_log_as_failed_and_a_lost_one_is_not(api, as_app, control, receiver):
    control("faults", webhooks={"drop": 1})
    run_id = api.start("quick.yml", {"cast_id": "dropped"})
    api.wait(run_id)
    failed = as_app.get("/app/hook/deliveries?status=failure").json()
    assert {d["action"] for d in failed} >= {"requested", "in_progress", "completed"}
    assert receiver.of_run(run_id) == []
    control("faults", reset=True, webhooks={"lose": 1})
    lost = api.start("quick.yml", {"cast_id": "lost"})
    api.wait(lost)
    assert lost not in [d["run_id"] for d in control("record")["deliveries"]]


def test_duplicates_share_their_guid(api, control, receiver):
    control("faults", webhooks={"duplicate": 1})
    run_id = api.start("quick.yml", {"cast_id": "twice"})
    receiver.wait_for(run_id, count=2)
    guids = [h["x-github-delivery"] for h, b in receiver.got if b.get("workflow_run", {}).get("id") == run_id]
    assert len(guids) == 2 * len(set(guids))


def test_reordered_and_delayed_deliveries_all_arrive(api, control, receiver):
    control("faults", webhooks={"reorder": True, "delay_ms": [0, 50]}, seed=3)
    run_ids = [api.start("quick.yml", {"cast_id": f"mixed-{n}"}) for n in range(2)]
    for run_id in run_ids:
        api.wait(run_id)
        end = time.monotonic() + 5
        while len(receiver.of_run(run_id)) < len(ORDER):
            assert time.monotonic() < end
            time.sleep(0.02)
    assert any(receiver.of_run(run_id) != ORDER for run_id in run_ids)


def test_webhook_can_come_before_the_dispatch_answer(api, control, receiver):
    control("faults", webhooks={"before_dispatch_answer": True, "answer_delay_ms": 50})
    run_id = api.start("quick.yml", {"cast_id": "early"})
    assert "workflow_run.requested" in receiver.of_run(run_id)
    api.wait(run_id)


def test_receiver_that_is_down_is_told_apart_in_the_log(as_app, api, server):
    hooks = server.world.hooks
    good, hooks.url = hooks.url, "http://127.0.0.1:9/"
    try:
        run_id = api.start("quick.yml", {"cast_id": "down"})
        api.wait(run_id)
        time.sleep(0.2)
        newest = as_app.get("/app/hook/deliveries?status=failure&per_page=1").json()[0]
        assert (newest["status"], newest["status_code"]) == ("failed to connect to host", 502)
    finally:
        hooks.url = good
