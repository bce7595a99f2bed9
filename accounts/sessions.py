"""Sessions of people in browsers: whose they are, from where, when they were last seen, and when they end.

Django's own store keeps a session for as long as its cookie lasts and says nothing of whose it is. Here a row ends on
its own: `SESSION_IDLE_SECONDS` after its user was last seen, and `SESSION_MAX_SECONDS` after the login whatever
happens. Whoever reads a session by its cookie, a page, the API or a stream, finds no row once it has ended.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Iterable
from typing import Any

from django.conf import settings
from django.contrib.auth import SESSION_KEY, get_user_model
from django.contrib.auth.models import User
from django.contrib.auth.signals import user_logged_in
from django.contrib.sessions.backends import db
from django.db.models.signals import pre_save
from django.http import HttpRequest
from django.utils import timezone

from accounts.models import Session
from core.api.address import UNKNOWN, client_address
from core.db.purging import purge_some

SEEN_EVERY = dt.timedelta(minutes=1)  # a write for each page would make every read a write
# Of nobody yet: a login that is half done, or the form behind a reset link.
ANONYMOUS_SECONDS = 3600


Base: Any = db.SessionStore  # its type stubs leave out what is there to be overridden


class SessionStore(Base):  # type: ignore[misc]
    """Django's store of sessions, SESSION_ENGINE, on our table."""

    started_at: dt.datetime | None = None
    last_seen_at: dt.datetime | None = None
    address: str | None = None
    browser = ""

    @classmethod
    def get_model_class(cls) -> type[Session]:
        return Session

    def _get_session_from_db(self) -> Session | None:
        return self._remembered(super()._get_session_from_db())

    async def _aget_session_from_db(self) -> Session | None:
        return self._remembered(await super()._aget_session_from_db())

    def _remembered(self, row: Session | None) -> Session | None:
        if row is not None:
            self.started_at, self.last_seen_at = row.started_at, row.last_seen_at
            self.address, self.browser = row.address, row.browser
        return row

    def begin(self, request: HttpRequest) -> None:
        """Note from when and from where this session is its user's."""
        self.started_at = timezone.now()
        self.see(request)

    def see(self, request: HttpRequest) -> None:
        address = client_address(request)
        self.address = None if address == UNKNOWN else address
        self.browser = printable(request.META.get("HTTP_USER_AGENT", ""))

    def create_model_instance(self, data: dict[str, Any]) -> Session:
        return self._row(data, self._get_or_create_session_key())

    async def acreate_model_instance(self, data: dict[str, Any]) -> Session:
        return self._row(data, await self._aget_or_create_session_key())

    def _row(self, data: dict[str, Any], key: str) -> Session:
        self.last_seen_at = now = timezone.now()
        self.started_at = self.started_at or now
        user_id = data.get(SESSION_KEY)
        return Session(
            session_key=key,
            session_data=self.encode(data),
            user_id=user_id,
            started_at=self.started_at,
            last_seen_at=now,
            address=self.address,
            browser=self.browser,
            expire_date=ends_at(self.started_at, now) if user_id else now + dt.timedelta(seconds=ANONYMOUS_SECONDS),
        )


def ends_at(started_at: dt.datetime, last_seen_at: dt.datetime) -> dt.datetime:
    """Return when a session ends if its user is not seen again."""
    return min(
        started_at + dt.timedelta(seconds=settings.SESSION_MAX_SECONDS),
        last_seen_at + dt.timedelta(seconds=settings.SESSION_IDLE_SECONDS),
    )


def printable(text: str) -> str:
    """Return a browser's name of itself as it can be stored and shown: what it is, is for a stranger to choose."""
    return "".join(c if c.isprintable() else " " for c in text[: Session.BROWSER_CHARS])


def seen(request: HttpRequest) -> None:
    """Note that a session's user is still there, at most once a minute; nothing for a visitor."""
    store: Any = request.session
    if not request.user.is_authenticated or getattr(store, "last_seen_at", None) is None:
        return
    now = timezone.now()
    if now - store.last_seen_at < SEEN_EVERY:
        return
    store.see(request)
    store.last_seen_at = now
    Session.objects.filter(pk=store.session_key).update(
        last_seen_at=now, expire_date=ends_at(store.started_at, now), address=store.address, browser=store.browser
    )


def of(user: User) -> list[Session]:
    """Return a user's sessions that have not ended, the one that was seen last first."""
    return list(Session.objects.filter(user=user, expire_date__gt=timezone.now()).order_by("-last_seen_at"))


def number(session: Session) -> str:
    """Return what names a session on a page: its key would open it."""
    return hashlib.sha256(session.pk.encode()).hexdigest()[:32]


def end(user: User, *, numbers: Iterable[str] | None = None, but: str | None = None) -> int:
    """End a user's sessions: those with these numbers, or all but the one with the key `but`; return how many."""
    wanted = None if numbers is None else set(numbers)
    keys = [
        session.pk
        for session in Session.objects.filter(user=user).exclude(pk=but).only("session_key")
        if wanted is None or number(session) in wanted
    ]
    return Session.objects.filter(pk__in=keys).delete()[0]


def end_all() -> str:
    """End everybody's sessions (one of RESTORED): some may have been ended since the backup was made."""
    return f"{Session.objects.all().delete()[0]} sessions are ended: people log in again."


def purge() -> int:
    """Delete what has ended; return how many."""
    return purge_some(Session.objects.filter(expire_date__lt=timezone.now()).order_by("expire_date"))


# --- what begins and ends sessions -----------------------------------------------------------------------------------


def _logged_in(sender: Any, request: HttpRequest, **kwargs: Any) -> None:
    if isinstance(request.session, SessionStore):
        request.session.begin(request)


def _user_changes(sender: Any, instance: Any, update_fields: Iterable[str] | None = None, **kwargs: Any) -> None:
    """End all sessions of a user whose password changes, or who is deactivated.

    Who changes it himself goes on: his session gets another key, under which it is stored again.
    """
    if instance.pk is None or (update_fields is not None and {"password", "is_active"}.isdisjoint(update_fields)):
        return
    before = get_user_model().objects.filter(pk=instance.pk).values("password").first()
    if before is not None and (before["password"] != instance.password or not instance.is_active):
        end(instance)


def connect() -> None:
    user_logged_in.connect(_logged_in, dispatch_uid="sessions")
    pre_save.connect(_user_changes, sender=get_user_model(), dispatch_uid="sessions")
