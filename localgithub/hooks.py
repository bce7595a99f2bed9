import hashlib
import hmac
import json
import logging
import queue
import threading
import time
import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import requests

from .clock import iso, next_id, now
from .faults import Faults

logger = logging.getLogger(__name__)
TIMEOUT = 10.0  # seconds GitHub waits for an answer
LANES = 4  # threads that send; deliveries in the same lane arrive in order
REORDER_MS = [0, 400]  # the range of extra delay under the fault "reorder"
MAX_DELIVERIES = 10_000  # deliveries in the log


@dataclass
class Delivery:
    """One entry of the delivery log."""

    event: str
    body: bytes  # as JSON text, so that later changes don't alter it
    action: str | None = None
    run_id: int | None = None
    installation_id: int | None = None
    repository_id: int | None = None
    guid: str = field(default_factory=lambda: str(uuid.uuid4()))
    redelivery: bool = False
    id: int = field(default_factory=next_id)
    delivered_at: datetime = field(default_factory=now)
    duration: float = 0.0
    status: str = "pending"
    status_code: int = 0
    url: str = ""
    request_headers: dict[str, str] = field(default_factory=dict)
    response_headers: dict[str, str] = field(default_factory=dict)
    response_body: str = ""
    done: threading.Event = field(default_factory=threading.Event)

    @classmethod
    def of(cls, event: str, payload: dict[str, Any]) -> "Delivery":
        run, job = payload.get("workflow_run") or {}, payload.get("workflow_job") or {}
        return cls(
            event,
            json.dumps(payload).encode(),
            action=payload.get("action"),
            run_id=run.get("id") or job.get("run_id"),
            installation_id=(payload.get("installation") or {}).get("id"),
            repository_id=(payload.get("repository") or {}).get("id"),
        )

    def copy(self, *, redelivery: bool = False) -> "Delivery":
        """Return the same event with the same GUID, as another entry of the log."""
        known = (self.event, self.body, self.action, self.run_id, self.installation_id, self.repository_id)
        return Delivery(*known, guid=self.guid, redelivery=redelivery)

    def summary(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "guid": self.guid,
            "delivered_at": iso(self.delivered_at),
            "redelivery": self.redelivery,
            "duration": round(self.duration, 2),
            "status": self.status,
            "status_code": self.status_code,
            "event": self.event,
            "action": self.action,
            "installation_id": self.installation_id,
            "repository_id": self.repository_id,
            "throttled_at": None,
        }

    def details(self) -> dict[str, Any]:
        return self.summary() | {
            "url": self.url,
            "request": {"headers": self.request_headers, "payload": json.loads(self.body)},
            "response": {"headers": self.response_headers, "payload": self.response_body},
        }


class Hooks:
    """One App's webhook: signs and sends from a few threads, keeps the delivery log."""

    def __init__(self, faults: Faults, app_id: int, url: str, secret: str) -> None:
        self.faults = faults
        self.app_id, self.hook_id = app_id, 400_000_000 + app_id
        self.url, self.secret = url, secret
        self.content_type, self.insecure_ssl = "json", "0"
        self._log: list[Delivery] = []
        self._lock = threading.Lock()
        self._lanes: list[queue.SimpleQueue[Delivery | None]] = [queue.SimpleQueue() for _ in range(LANES)]
        self._threads = [threading.Thread(target=self._work, args=(lane,), daemon=True) for lane in self._lanes]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Stop the threads once they have sent what is queued already."""
        for lane in self._lanes:
            lane.put(None)

    def log(self) -> list[Delivery]:
        with self._lock:
            # One without a status is still on its way.
            return sorted((d for d in self._log if d.status_code), key=lambda d: -d.id)

    def emit(self, event: str, payload: dict[str, Any], *, lane: int = 0, deliver: bool = True) -> list[Delivery]:
        """Queue an event; what shares a lane arrives in order, unless a fault says otherwise.

        What is not to be delivered is in the log as failed, as under the fault "drop".
        """
        if not self.url or self.faults.befalls("lose"):
            return []
        delivery = Delivery.of(event, payload)
        if not deliver or self.faults.befalls("drop"):
            self._keep(delivery)
            self._finish(delivery, 502, "failed to connect to host")
            return []
        copies = [delivery]
        if self.faults.befalls("duplicate"):
            copies.append(delivery.copy())
        for copy in copies:
            self._queue(copy, lane)
        return copies

    def redeliver(self, old: Delivery) -> None:
        """Send a delivery again: with the same GUID, and an entry of its own in the log."""
        self._queue(old.copy(redelivery=True), 0)

    def _queue(self, delivery: Delivery, lane: int) -> None:
        self._keep(delivery)
        wanted = self.faults.webhooks
        delay = self.faults.between(wanted["delay_ms"])
        if wanted["reorder"]:
            delay += self.faults.between(REORDER_MS)
        if delay:
            timer = threading.Timer(delay, self._lanes[lane % LANES].put, (delivery,))
            timer.daemon = True
            timer.start()
        else:
            self._lanes[lane % LANES].put(delivery)

    def _keep(self, delivery: Delivery) -> None:
        with self._lock:
            self._log.append(delivery)
            # The oldest go first; a long storm must not fill the memory.
            del self._log[:-MAX_DELIVERIES]

    def _work(self, lane: "queue.SimpleQueue[Delivery | None]") -> None:
        with requests.Session() as session:
            session.trust_env = False  # no proxy between us and a receiver on this machine
            while (delivery := lane.get()) is not None:
                try:
                    self._send(session, delivery)
                except Exception:
                    logger.exception("delivery %s", delivery.guid)
                    self._finish(delivery, 500, "Internal error")

    def _send(self, session: requests.Session, delivery: Delivery) -> None:
        delivery.url, delivery.request_headers = self.url, self._headers(delivery)
        delivery.delivered_at = now()
        begun = time.monotonic()
        try:
            answer = session.post(
                self.url, data=delivery.body, headers=delivery.request_headers, timeout=TIMEOUT, allow_redirects=False
            )
        except requests.Timeout:
            self._finish(delivery, 504, "timed out")
        except requests.RequestException:
            self._finish(delivery, 502, "failed to connect to host")
        else:
            delivery.response_headers = dict(answer.headers)
            delivery.response_body = answer.text[:10_000]
            good = answer.status_code < 400
            status = "OK" if good else f"Invalid HTTP Response: {answer.status_code}"
            self._finish(delivery, answer.status_code, status, time.monotonic() - begun)

    def _headers(self, delivery: Delivery) -> dict[str, str]:
        headers = {
            "Accept": "*/*",
            "Content-Type": "application/json",
            "User-Agent": "GitHub-Hookshot/10ca1ab",
            "X-GitHub-Delivery": delivery.guid,
            "X-GitHub-Event": delivery.event,
            "X-GitHub-Hook-ID": str(self.hook_id),
            "X-GitHub-Hook-Installation-Target-ID": str(self.app_id),
            "X-GitHub-Hook-Installation-Target-Type": "integration",
        }
        if self.secret:
            key = self.secret.encode()
            headers["X-Hub-Signature"] = "sha1=" + hmac.new(key, delivery.body, "sha1").hexdigest()
            headers["X-Hub-Signature-256"] = "sha256=" + hmac.new(key, delivery.body, hashlib.sha256).hexdigest()
        return headers

    def _finish(self, delivery: Delivery, code: int, status: str, duration: float = 0.0) -> None:
        delivery.status_code, delivery.status, delivery.duration = code, status, duration
        delivery.done.set()
        if status != "OK":
            logger.warning("webhook %s.%s: %s", delivery.event, delivery.action, status)


def wait_for(deliveries: Iterable[Delivery], seconds: float) -> None:
    """Wait until all these are answered, at most so many seconds."""
    end = time.monotonic() + seconds
    for delivery in deliveries:
        delivery.done.wait(max(0.0, end - time.monotonic()))
