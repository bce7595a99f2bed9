"""Sends events to webhook endpoints, signed as Stripe does. Source: https://docs.stripe.com/webhooks/signature"""

import hashlib
import hmac
import json
import logging
import queue
import threading
import zlib
from typing import TYPE_CHECKING

import requests

from .clock import job
from .store import Obj, public

if TYPE_CHECKING:
    from .world import World

logger = logging.getLogger(__name__)
TIMEOUT = 10.0  # seconds to wait for an answer
LANES = 4  # threads that send; what is about the same object arrives in order
MAX_ATTEMPTS = 50_000  # in the record
REORDER_MS = [0, 400]  # the range of extra delay under the fault "reorder"


def signature(secret: str, timestamp: int, body: bytes) -> str:
    signed = hmac.new(secret.encode(), f"{timestamp}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={timestamp},v1={signed}"


class Hooks:
    def __init__(self, world: "World") -> None:
        self.world = world
        self.attempts: list[dict[str, object]] = []  # for the record
        self._under_way = 0  # first tries that were not answered yet
        self._moved = threading.Condition()
        self._lanes: list[queue.SimpleQueue[tuple[str, str, int] | None]] = [queue.SimpleQueue() for _ in range(LANES)]
        self._threads = [threading.Thread(target=self._work, args=(lane,), daemon=True) for lane in self._lanes]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        for lane in self._lanes:
            lane.put(None)

    def send(self, event: Obj) -> None:
        """Queue an event for each endpoint that wants it; under the world's lock."""
        faults = self.world.faults
        for endpoint in list(self.world.store.all("webhook_endpoint", status="enabled")):
            if not {"*", event["type"]} & set(endpoint["enabled_events"]):
                continue
            event["pending_webhooks"] += 1
            if faults.befalls("webhooks", "drop"):
                continue
            self._queue(event, endpoint["id"])
            if faults.befalls("webhooks", "duplicate"):
                self._queue(event, endpoint["id"])

    def send_thin(self, event: Obj) -> None:
        """Queue an event of API v2 for each destination that wants it; under the world's lock."""
        for destination in list(self.world.store.all("v2.core.event_destination", status="enabled")):
            if event["type"] in destination["enabled_events"] and not self.world.faults.befalls("webhooks", "drop"):
                self._queue(event, destination["id"])
                if self.world.faults.befalls("webhooks", "duplicate"):
                    self._queue(event, destination["id"])

    def resend(self, event: Obj, endpoint_id: str) -> None:
        self._queue(event, endpoint_id)

    def _queue(self, event: Obj, endpoint_id: str) -> None:
        wanted = self.world.faults["webhooks"]
        delay = self.world.faults.between(wanted["delay_ms"])
        if wanted["reorder"]:
            delay += self.world.faults.between(REORDER_MS)
        lane = self._lane(event)
        item = (event["id"], endpoint_id, 0)
        with self._moved:
            self._under_way += 1
        if delay:
            timer = threading.Timer(delay, lane.put, (item,))
            timer.daemon = True
            timer.start()
        else:
            lane.put(item)

    def _lane(self, event: Obj) -> "queue.SimpleQueue[tuple[str, str, int] | None]":
        return self._lanes[zlib.crc32(str(_about(event)).encode()) % LANES]

    def wait(self) -> None:
        """Wait until every event was tried once at each endpoint, a few seconds at most."""
        with self._moved:
            self._moved.wait_for(lambda: self._under_way == 0, TIMEOUT)

    def _work(self, lane: "queue.SimpleQueue[tuple[str, str, int] | None]") -> None:
        with requests.Session() as session:
            session.trust_env = False  # no proxy between us and a receiver on this machine
            while (item := lane.get()) is not None:
                try:
                    self._send(session, *item)
                except Exception:
                    logger.exception("event %s", item[0])
                if item[2] == 0:
                    with self._moved:
                        self._under_way -= 1
                        self._moved.notify_all()

    def _send(self, session: requests.Session, event_id: str, endpoint_id: str, tries: int) -> None:
        with self.world.lock:
            event, endpoint = self.world.store.find(event_id), self.world.store.find(endpoint_id)
            if event is None or endpoint is None:
                return  # the endpoint was deleted
            body = json.dumps(_sent(event), indent=2).encode()
            url = endpoint.get("url") or endpoint["_url"]
            secret, now = endpoint["_secret"], self.world.clock.now()
        headers = {
            "Accept": "*/*; q=0.5, application/xml",
            "Cache-Control": "no-cache",
            "Content-Type": "application/json; charset=utf-8",
            "User-Agent": "Stripe/1.0 (+https://stripe.com/docs/webhooks)",
            "Stripe-Signature": signature(secret, now, body),
        }
        try:
            answer = session.post(url, data=body, headers=headers, timeout=TIMEOUT, allow_redirects=False)
            status = answer.status_code
        except requests.RequestException as error:
            status = 0
            logger.warning("event %s not delivered: %s", event_id, type(error).__name__)
        with self.world.lock:
            self.world.happened += 1
            self.attempts.append({"event": event_id, "type": event["type"], "endpoint": endpoint_id, "status": status})
            del self.attempts[:-MAX_ATTEMPTS]
            if 200 <= status < 300:
                if "pending_webhooks" in event:
                    event["pending_webhooks"] = max(0, event["pending_webhooks"] - 1)
                return
        retries = self.world.config.webhook_retries
        if tries < len(retries):
            self.world.after(retries[tries], send_again, event_id, endpoint_id, tries + 1)

    def send_again(self, event_id: str, endpoint_id: str, tries: int) -> None:
        event = self.world.store.find(event_id)
        if event is not None:
            self._lane(event).put((event_id, endpoint_id, tries))


@job
def send_again(world: "World", event_id: str, endpoint_id: str, tries: int) -> None:
    world.hooks.send_again(event_id, endpoint_id, tries)


def _sent(event: Obj) -> Obj:
    """Return what a delivery brings: of an event of API v2 all but its data."""
    found: Obj = public(event)
    if event["object"] == "v2.core.event":
        found = {name: value for name, value in found.items() if name not in ("data", "changes")}
    return found


def _about(event: Obj) -> object:
    about = event["data"].get("object") or event.get("related_object") or {}
    return about.get("payment_intent") or about.get("id")
