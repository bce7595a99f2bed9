import copy
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from . import ids
from .billing import thin
from .billing.usage import Usage
from .clock import Clock
from .config import API_VERSION, Config
from .faults import Faults
from .hooks import Hooks
from .idempotency import Idempotency
from .routing import Call
from .store import Obj, Store, public

MAX_RECORD = 50_000  # requests


class World:
    """All that the server knows. Whoever reads or changes it holds `lock`."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.lock = threading.RLock()
        self.clock, self.store, self.faults = Clock(self._perform), Store(), Faults()
        self.idempotency = Idempotency(self.clock.time)
        self.hooks = Hooks(self)
        self.record: list[dict[str, Any]] = []
        self.usage = Usage()
        self.meter_errors: dict[str, list[tuple[str, str, str]]] = {}  # code, message, identifier; by meter, to report
        self.calls: list[Call] = []  # the request that is carried out, for the events it causes
        self.happened = 0  # requests and jobs, so far

    def start(self) -> None:
        if self.config.webhook_url:
            self._send_to_the_configured()
        self.clock.start()
        self.hooks.start()

    def stop(self) -> None:
        self.clock.stop()
        self.hooks.stop()

    def at(self, moment: float, act: Callable[..., None], *arguments: Any) -> None:
        """Have a `job` called once its time has come."""
        self.clock.at(moment, act, list(arguments))

    def after(self, seconds: float, act: Callable[..., None], *arguments: Any) -> None:
        self.at(self.clock.time() + seconds, act, *arguments)

    def _perform(self, act: Callable[..., None], arguments: list[Any]) -> None:
        with self.lock:
            self.happened += 1
            act(self, *arguments)

    def new(self, kind: str, prefix: str, length: int = 24, **fields: Any) -> Obj:
        """Return a new object with what all have; it is in the store."""
        usual = {"id": ids.new(prefix, length), "object": kind, "created": self.clock.now(), "livemode": False}
        return self.store.add({**usual, **fields})

    def add_endpoint(self, url: str, enabled_events: list[str], *, secret: str = "", **fields: Any) -> Obj:
        usual: Obj = {
            "api_version": None,
            "application": None,
            "description": None,
            "enabled_events": enabled_events,
            "metadata": {},
            "status": "enabled",
            "url": url,
            "_secret": secret or "whsec_" + ids.random_part(32),
        }
        return self.new("webhook_endpoint", "we", 24, **{**usual, **fields})

    def send_all(self, url: str, *, secret: str) -> Obj:
        """Send every event to one address, thin ones as well, which at Stripe takes an endpoint and a destination."""
        secret = secret or "whsec_" + ids.random_part(32)
        thin.add_destination(self, url, list(thin.SENT_THIN), name="all thin events", secret=secret)
        return self.add_endpoint(url, ["*"], secret=secret)

    def _send_to_the_configured(self) -> None:
        """Have what the command line named get everything, with the secret it named now."""
        url, secret = self.config.webhook_url, self.config.webhook_secret
        known = [*self.store.all("webhook_endpoint", url=url), *self.store.all("v2.core.event_destination", _url=url)]
        for one in known:
            one["_secret"] = secret
        if not known:
            self.send_all(url, secret=secret)

    def dump(self) -> Obj:
        """Return all that must outlive the process, as JSON can have it; under the lock."""
        return {
            "clock": self.clock.dump(),
            "store": self.store.dump(),
            "idempotency": self.idempotency.dump(),
            "usage": self.usage.dump(),
            "meter_errors": self.meter_errors,
        }

    def load(self, kept: Obj) -> None:
        self.store.load(kept["store"])
        self.idempotency.load(kept["idempotency"])
        self.usage.load(kept["usage"])
        for key, found in kept["meter_errors"].items():
            self.meter_errors[key] = [(code, message, identifier) for code, message, identifier in found]
        self.clock.load(kept["clock"])

    def emit(self, type: str, obj: Obj, previous: Obj | None = None) -> Obj:
        """Make an event about an object as it is now, and send it to the endpoints."""
        call = self.calls[-1] if self.calls else Call(self)
        data: Obj = {"object": public(obj)}
        if previous is not None:
            data["previous_attributes"] = previous
        event = self.new(
            "event",
            "evt",
            api_version=API_VERSION,
            data=data,
            pending_webhooks=0,
            request={"id": call.request_id, "idempotency_key": call.idempotency_key},
            type=type,
        )
        self.hooks.send(event)
        return event

    @contextmanager
    def updating(self, obj: Obj, event: str | None) -> Iterator[Obj]:
        """Change an object inside; `event`, such as customer.updated, then tells what was there before.

        Nothing is told if nothing has changed, and the object is as it was if an error is raised.
        """
        before = copy.deepcopy(obj)
        try:
            yield obj
        except BaseException:
            obj.clear()
            obj.update(before)
            raise
        previous = _changed(public(before), public(obj))
        if previous and event:
            self.emit(event, obj, previous)

    def indexed(self, obj: Obj) -> Obj:
        """Note for searches that an object is new or has changed; they find it a little later."""
        self.store.index(obj, self.clock.time() + self.config.search_lag)
        return obj

    def note(self, **entry: Any) -> dict[str, Any]:
        self.record.append(entry)
        del self.record[:-MAX_RECORD]
        return entry


def _changed(old: Obj, new: Obj) -> Obj:
    """Return what was there before, of the fields that have changed; of objects within, only their changed fields."""
    found: Obj = {}
    for name in {**old, **new}:
        before, after = old.get(name), new.get(name)
        if isinstance(before, dict) and isinstance(after, dict):
            if inner := _changed(before, after):
                found[name] = inner
        elif before != after:
            found[name] = before
    return found
