"""Whether webhooks reach us. The secret can't be read back: GitHub's log of deliveries tells whether it is ours."""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Generator, Iterator
from urllib.parse import urlsplit

from github_integration import errors
from github_integration.api import GitHub
from github_integration.details import AppDetails, HookConfig
from github_integration.doctor.app import settings_page
from github_integration.doctor.findings import About, Finding, Level
from github_integration.wire import LoggedDelivery

ABOUT = About("Webhook")
LOOK_EVERY = 0.5  # seconds, at the log after a ping
WITHOUT = "Casts come right all the same, by asking, a little later."
EVENTS = {"workflow_run": WITHOUT, "workflow_job": WITHOUT}
PUSH = "What a push changes of a repository's spells is noticed all the same, by asking, a little later."
LOCAL_NAMES = ("localhost", "localhost.localdomain")


def check(
    github: GitHub, app: AppDetails, *, address: str, secret_set: bool, ping_seconds: float = 0
) -> Iterator[Finding]:
    """Check the webhook's settings, and what became of the newest delivery; with `ping_seconds`, of one sent now."""
    if not secret_set:
        yield ABOUT.problem(
            "our secret",
            "GITHUB_WEBHOOK_SECRET is not set, so every delivery is refused.",
            hint=f"Set it to the text under {settings_page(app)} → Webhook → Secret.",
        )
    try:
        config = github.app.hook_config()
    except errors.NotFound:
        config = HookConfig()
    url, page = config.url, f"{settings_page(app)} → Webhook"
    reachable = can_reach(address, github.api_url)
    severity = Level.PROBLEM if reachable else Level.WARNING
    if not reachable:
        yield ABOUT.warning(
            "PUBLIC_URL",
            f"GitHub can't reach {shown(address)}: it names this machine or a private network. {WITHOUT}",
            hint="On a laptop, nothing. On a server, set PUBLIC_URL to the https:// address by which the internet "
            "reaches it, and the webhook's address likewise.",
        )
    if not url:
        if reachable:
            hint = f"{page}: Active; URL {shown(address)}; the text of GITHUB_WEBHOOK_SECRET as secret."
            yield ABOUT.problem("URL", f"The App has no webhook. {WITHOUT}", hint=hint)
        return
    if url == address:
        yield ABOUT.ok("URL", shown(url))
    else:
        message = f"Webhooks go to {shown(url)}, and we listen at {shown(address)}."
        unless = "" if reachable else " Leave it if a tunnel leads from there to here."
        hint = f"{page} → URL: {shown(address)}; or correct PUBLIC_URL.{unless}"
        yield Finding(severity, ABOUT.subject, "URL", message, hint)
    yield from _settings(config, url, page)
    yield from _events(app, severity)
    line = None
    if ping_seconds:
        line = yield from _pinged(github, ping_seconds)
    yield _newest(github, page, url, severity, line)


def of_a_token() -> Finding:
    """Say what a personal token can't have checked."""
    return ABOUT.warning(
        "all",
        f"Not checked: it would be the repository's own, since a personal token has no App. {WITHOUT}",
        hint="Make an App once the first try has worked: docs/how-to/github-actions-setup.md.",
    )


def _settings(config: HookConfig, url: str, page: str) -> Iterator[Finding]:
    if config.content_type == "json":
        yield ABOUT.ok("content type", "application/json")
    else:
        message = f"It is {config.content_type or 'form'!r}; we answer 415 to everything but JSON."
        yield ABOUT.problem("content type", message, hint=f"{page} → Content type: application/json.")
    if not url.startswith("https://"):
        if not _loopback(urlsplit(url).hostname or ""):
            message = "The address is plain http://, so somebody between us could read along."
            yield ABOUT.warning("certificate", message, hint=f"{page} → URL: https://, with a valid certificate.")
    elif config.certificate_checked:
        yield ABOUT.ok("certificate", "GitHub checks it")
    else:
        yield ABOUT.warning(
            "certificate",
            "GitHub does not check it, so somebody between us could read along.",
            hint=f"{page} → SSL verification: enable. The server needs a certificate of a public authority.",
        )
    if config.has_secret:
        yield ABOUT.ok("secret", "one is set; whether it is ours, deliveries show")
    else:
        yield ABOUT.problem(
            "secret",
            "None is set on GitHub, so nothing is signed, and we refuse all of it with 401.",
            hint=f"{page} → Secret: the text in GITHUB_WEBHOOK_SECRET.",
        )


def _events(app: AppDetails, severity: Level) -> Iterator[Finding]:
    for name, without in (EVENTS | {"push": PUSH}).items():
        if name in app.events:
            yield ABOUT.ok(f"event {name}", "subscribed")
        else:
            message = f"The App is not subscribed to it, so GitHub does not tell. {without}"
            title = name.replace("_", " ").capitalize()
            hint = f"{settings_page(app)} → Permissions & events → Subscribe to events: tick “{title}”."
            level = severity if name in EVENTS else Level.WARNING
            yield Finding(level, ABOUT.subject, f"event {name}", message, hint)


def can_reach(address: str, api_url: str) -> bool:
    """Return whether GitHub may be able to reach an address; one on this machine reaches what is local too."""
    host, github_host = urlsplit(address).hostname or "", urlsplit(api_url).hostname or ""
    if _loopback(host):
        return _loopback(github_host)
    public = github_host == "api.github.com" or github_host.endswith(".ghe.com")
    return not (public and _private(host))


def _loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host in LOCAL_NAMES or host.endswith(".localhost")


def _private(host: str) -> bool:
    try:
        return not ipaddress.ip_address(host).is_global
    except ValueError:
        return "." not in host or host.endswith((".local", ".internal", ".lan"))


def shown(url: str) -> str:
    """Return an address without what may be secret in it."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()


# --- what became of deliveries ---------------------------------------------------------------------------


def _newest(github: GitHub, page: str, url: str, severity: Level, line: LoggedDelivery | None) -> Finding:
    """Judge by one delivery, or else by the newest that was answered, or failed to be."""
    line = line or next((one for one in github.app.deliveries()[0] if _ended(one)), None)
    if line is None:
        return ABOUT.warning(
            "deliveries",
            "GitHub has sent nothing yet, or not for days: nothing proves that the address and the secret work.",
            hint="Cast something, or save the webhook's settings, which sends a ping. Then run the doctor again.",
        )
    what = _named(line)
    try:
        sent_to = github.app.delivery(line.id).url or url
    except errors.NotFound:
        sent_to = url
    if sent_to != url:
        return ABOUT.warning(
            "deliveries",
            f"The newest one ({what}) went to {shown(sent_to)}, before the address was changed.",
            hint="Run `manage.py doctor --ping`, which has GitHub send it to the new one.",
        )
    if 200 <= line.status_code < 300:
        return ABOUT.ok("deliveries", f"the newest one ({what}) arrived, and was signed with our secret")
    told, hint = _why(line.status_code, line.status, page)
    return Finding(severity, ABOUT.subject, "deliveries", f"The newest one ({what}): {told}", hint)


def _ended(line: LoggedDelivery) -> bool:
    return bool(line.status_code) or line.status not in ("pending", "")


def _named(line: LoggedDelivery) -> str:
    return f"{line.event} of {line.delivered_at:%Y-%m-%dT%H:%M:%SZ}"


def _why(code: int, words: str, page: str) -> tuple[str, str]:
    """Return why a delivery was not taken, and what to do."""
    if code == 401:
        return (
            "refused with 401, because it was signed with another secret; or a proxy changes the body.",
            f"{page} → Secret: the very text of GITHUB_WEBHOOK_SECRET. Restart web, then `manage.py doctor --ping`.",
        )
    if "http response" in words.lower() or 300 <= code < 500:
        hints = {
            404: f"{page} → URL: it ends in /api/webhooks/github, without a slash, at the host of PUBLIC_URL.",
            413: "Have the proxy take bodies of 25 MB (nginx: client_max_body_size 25m).",
            415: f"{page} → Content type: application/json.",
        }
        other = "See the log of the web process, and of the proxy in front of it, at that time."
        if 300 <= code < 400:
            other = f"{page} → URL: the final https:// address; GitHub follows no redirects."
        return f"answered with {code}.", hints.get(code, other)
    return (
        f"not delivered ({words or code}).",
        "Is the web process running? Its address needs a name in public DNS, a valid certificate, and a firewall "
        f"that lets GitHub in. {WITHOUT}",
    )


def _pinged(github: GitHub, seconds: float) -> Generator[Finding, None, LoggedDelivery | None]:
    """Have the newest ping sent again, or else the newest delivery, which does no harm; return its line of the log."""
    log = github.app.deliveries()[0]
    old = next((one for one in log if one.event == "ping"), None) or next(iter(log), None)
    if old is None:
        message = "There is nothing in GitHub's log, which goes back three days, that could be sent again."
        yield ABOUT.warning("ping", message, hint="Save the webhook's settings on the App's page: that sends a ping.")
        return None
    known = {one.id for one in log}
    try:
        github.app.redeliver(old.id)
    except (errors.NotFound, errors.Refused) as exc:
        message = f"GitHub does not send the {_named(old)} again: {exc}"
        yield ABOUT.warning("ping", message, hint="Save the webhook's settings on the App's page: that sends a ping.")
        return None
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(LOOK_EVERY)
        for one in github.app.deliveries()[0]:
            if one.id not in known and one.guid == old.guid and _ended(one):
                yield ABOUT.ok("ping", f"GitHub has sent the {_named(old)} once more")
                return one
    yield ABOUT.warning(
        "ping",
        f"Sent once more, but what became of it is not in GitHub's log after {seconds:.0f} seconds.",
        hint="GitHub may be slow, or the address does not answer. Run the doctor again in a minute, without --ping.",
    )
    return None
