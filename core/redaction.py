"""Texts without secrets: what every log line, and every message made of an exception, passes through."""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import urlsplit

CUT = "…"
# What follows the name, up to where a value ends in a URL, a header, JSON or Python's repr.
VALUE = r"""[^\s&;,"'<>\\)}\]]+"""
NAMES = (
    "token|access_token|refresh_token|id_token|sig|signature|client_secret|secret|password|passwd|api_?key|sessionid"
    "|csrftoken|x-amz-[a-z-]{1,40}|x-goog-[a-z-]{1,40}|awsaccesskeyid|googleaccessid"
)
# Each alternative begins where no word is under way, and what it repeats ends at what can't begin it again: so that a
# long text without secrets takes time in proportion to its length.
SECRETS = re.compile(
    # Our keys, of which the public prefix stays: by it the key is found, to be revoked.
    r"(?P<key>sk_live_spl_[A-Za-z0-9]{8})[A-Za-z0-9]+"
    # GitHub's tokens, up to about 520 characters with dots; and the secrets that sign callbacks.
    r"|(?P<token>(?<![A-Za-z0-9])(?:gh[a-z]_|github_pat_|whsec_))[A-Za-z0-9._/+=-]{6,}"
    r"|(?P<jwt>(?<![A-Za-z0-9_-])eyJ)[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+"
    r"|(?P<pem>-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----).*?(?:-----END [A-Z ]{0,40}PRIVATE KEY-----|\Z)"
    r"""|(?P<header>(?i:(?<![\w-])(?:proxy-)?authorization["']?[ \t]{0,4}[:=][ \t]{0,4}["']?"""
    + r"(?:(?:bearer|basic|token)[ ]{1,4})?))"
    + VALUE
    + r"|(?P<bearer>(?i:(?<![\w-])bearer[ ]{1,4}))[A-Za-z0-9._~+/=-]{16,}"
    + rf"""|(?P<named>(?i:(?:(?<![\w%-])|%3f|%26)(?:{NAMES})(?:=|%3d|["']\s{{0,2}}:\s{{0,2}}["'])))"""
    + VALUE
    + r"|(?P<password>(?<=://)[^\s/:@]{0,200}:)[^\s/@]{1,200}(?=@)",
    re.DOTALL,
)
# urllib3 quotes paths with their query in its exceptions, in which a storage service's signature may have any name.
QUERY = re.compile(r"(with url: [^\s?]*\?)[^\s]+")
# A quick look for what none of the above can be without.
MARKS = re.compile(
    r"sk_live_spl_|gh[a-z]_|github_pat_|whsec_|eyJ|-----BEGIN|(?i:authorization|bearer)|=|%3[dD]|@|[\"']:"
)


NAME = re.compile(rf"(?:{NAMES}|authorization|proxy-authorization|cookie|set-cookie)", re.IGNORECASE)


def is_secret_name(name: str) -> bool:
    """Whether what goes by this name, such as a header or a parameter, is a secret whatever it looks like."""
    return NAME.fullmatch(name) is not None


def redact(text: str) -> str:
    """Return `text` without keys, tokens, signatures, passwords and private keys; what each was can still be seen."""
    if text.isalnum() or not MARKS.search(text):  # most of a log line's words are letters and digits
        return text
    return SECRETS.sub(lambda found: f"{found[found.lastgroup or 0]}{CUT}", QUERY.sub(rf"\1{CUT}", text))


def error_text(exc: BaseException) -> str:
    """Return an exception's class and text, for a row or a message that others will read."""
    return redact(f"{type(exc).__name__}: {exc}")


def network_error(exc: BaseException, url: str) -> str:
    """Say what went wrong on the network and with which host.

    Never the URL, which may be signed, nor the exception's text, which quotes it: classes and the system's own words.
    """
    causes = list(causes_of(exc))
    kinds = [type(exc).__name__]
    if (last := type(causes[-1]).__name__) not in kinds:
        kinds.append(last)
    why = next((found.strerror for found in causes if isinstance(found, OSError) and found.strerror), None)
    # Of a request that was redirected, where it went at last.
    url = str(getattr(getattr(exc, "request", None), "url", None) or url)
    return f"{' by '.join(kinds)}{f' ({redact(str(why))})' if why else ''} at {host_of(url)}"


def causes_of(exc: BaseException) -> Iterator[BaseException]:
    """Yield an exception and what it wraps, in the ways that requests, urllib3 and Python do, to the innermost."""
    seen: set[int] = set()
    found: BaseException | None = exc
    while found is not None and id(found) not in seen:
        seen.add(id(found))
        yield found
        wrapped = [getattr(found, "reason", None), *found.args, found.__cause__, found.__context__]
        found = next((inner for inner in wrapped if isinstance(inner, BaseException) and id(inner) not in seen), None)


def host_of(url: str) -> str:
    """Return a URL's host and port, without user and password."""
    try:
        return urlsplit(url).netloc.rpartition("@")[2] or "an unknown host"
    except ValueError:
        return "an unknown host"
