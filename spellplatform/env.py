"""Reading settings, from the environment and from a `.env` file. No value is ever shown: it may be a secret."""

from __future__ import annotations

import builtins
import codecs
import ipaddress
import math
import os
import re
import warnings
from collections.abc import Collection, MutableMapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import unquote, urlsplit

import environ
from django.core.exceptions import ImproperlyConfigured

from core.dotenv import parse
from core.times import MOST_DAYS

IGNORE = "IGNORE_ENV_FILE"
FILE = "_FILE"
SECRET_BYTES = 64 * 1024
MOST_PROBLEMS = 8  # named of one file; the lines of a pasted key are many

# The types within Env, whose methods have the same names.
Text: TypeAlias = builtins.str
Whole: TypeAlias = builtins.int
Number: TypeAlias = builtins.float
Texts: TypeAlias = builtins.list[builtins.str]


class BadSetting(ImproperlyConfigured):
    """A setting that can't be read; str() is a sentence with its name, and without its value."""


# --- a .env file ---------------------------------------------------------------------------------------------------


def read_beside(folder: Path, into: MutableMapping[str, str]) -> None:
    """Set what the `.env` file in a folder sets, as read_file does, if there is one.

    IGNORE_ENV_FILE turns it off, for processes that are given a whole configuration, as by the demo.
    """
    if not into.get(IGNORE):
        read_file(folder / ".env", into)


def read_file(path: Path, into: MutableMapping[str, str]) -> None:
    """Set what a `.env` file sets and `into` lacks; nothing if there is no such file.

    Raise BadSetting, naming every line that can't be read.
    """
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        return
    except IsADirectoryError:  # container tools create one in place of a missing file that is to be mounted
        raise BadSetting(f"{path} is a folder. Put a file in its place, or remove it.") from None
    except OSError as exc:
        raise BadSetting(f"{path} can't be read: {exc.strerror}. Let this user read it, or remove it.") from None
    utf16 = raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))  # as PowerShell's > writes
    try:
        text = raw.decode("utf-16" if utf16 else "utf-8-sig")
    except UnicodeDecodeError as exc:
        line = raw.count(b"\n", 0, exc.start) + 1
        raise BadSetting(f"{path}, line {line}: this is not UTF-8. Save the file as UTF-8.") from None
    found, problems = parse(text)
    if problems:
        more = f" And {len(problems) - MOST_PROBLEMS} more lines." if len(problems) > MOST_PROBLEMS else ""
        told = " ".join(problems[:MOST_PROBLEMS])
        raise BadSetting(f"{path} can't be read. {told}{more} See docs/reference/configuration.md.")
    for name, value in found.items():
        into.setdefault(name, value)


# --- settings ------------------------------------------------------------------------------------------------------

TRUE = frozenset({"1", "true", "yes", "on", "y", "ok"})
FALSE = frozenset({"0", "false", "no", "off", "n"})


class Env:
    """Settings by name. A blank one counts as missing: container tools pass `NAME=` for what was not set."""

    def __init__(self, values: MutableMapping[Text, Text] = os.environ) -> None:
        self.values = values

    def given(self, name: Text) -> Text | None:
        """Return a setting's text, None if it is missing or blank. `$NAME` stands for another variable that is set.

        NAME_FILE names a file that holds it, as Docker and Kubernetes hand over secrets. Raise BadSetting.
        """
        value, file = self._variable(name), self._variable(f"{name}{FILE}")
        if not file.strip():
            return value if value.strip() else None
        if value.strip():
            raise BadSetting(f"{name} and {name}{FILE} are both set. Leave one of them out.")
        return read_secret(f"{name}{FILE}", file.strip())

    def _variable(self, name: Text) -> Text:
        value = self.values.get(name, "")
        return self.values.get(value[1:], value) if value.startswith("$") else value

    def str(self, name: Text, *, default: Text, among: Collection[Text] = ()) -> Text:
        """Return a text. Raise BadSetting if it is not one of `among`, ignoring case."""
        value = self.given(name)
        if value is None:
            return default
        if not among:
            return value
        for word in among:
            if word.lower() == value.strip().lower():
                return word
        raise BadSetting(f"{name} must be one of {', '.join(among)}.")

    def list(self, name: Text, *, default: Texts) -> Texts:
        """Return the comma-separated parts that are not blank."""
        value = self.given(name)
        return default if value is None else [part.strip() for part in value.split(",") if part.strip()]

    def bool(self, name: Text, *, default: builtins.bool) -> builtins.bool:
        word = (self.given(name) or "").strip().lower()
        if word and word not in TRUE | FALSE:
            raise BadSetting(f"{name} must be true or false; it is neither, nor 1, 0, yes, no, on or off.")
        return word in TRUE if word else default

    def int(self, name: Text, *, default: Any, least: Whole | None = None, most: Whole | None = None) -> Any:
        value = self.given(name)
        if value is None:
            return default
        if not re.fullmatch(r"\s*[+-]?[0-9]{1,18}\s*", value) or (least is not None and Whole(value) < least):
            raise BadSetting(f"{name} must be a whole number{'' if least is None else f', at least {least}'}.")
        if most is not None and Whole(value) > most:
            raise BadSetting(f"{name} must be {most} at most.")
        return Whole(value)

    def days(self, name: Text, *, default: Any, least: Whole | None = None) -> Any:
        """Return for how many days something is kept: MOST_DAYS at most."""
        return self.int(name, default=default, least=least, most=MOST_DAYS)

    def float(self, name: Text, *, default: Number, least: Number = 0) -> Number:
        value = self.given(name)
        if value is None:
            return default
        try:
            number = Number(value)
        except ValueError:
            number = math.nan
        if not math.isfinite(number) or number < least:
            raise BadSetting(f"{name} must be a number, at least {least:g}.")
        return number


def read_secret(name: str, path: str) -> str:
    """Return what the file that a setting names holds, without the line break at its end. Raise BadSetting."""
    # Without the path: somebody may have written the secret there.
    try:
        with Path(path).open("rb") as opened:
            raw = opened.read(SECRET_BYTES + 1)
        text = raw.decode("utf-8-sig").rstrip("\r\n")
    except (OSError, ValueError) as exc:
        why = (isinstance(exc, OSError) and exc.strerror) or "it is not a file of UTF-8 text"
        raise BadSetting(f"{name} names no file that can be read: {why}.") from None
    if not text.strip() or "\x00" in text or len(raw) > SECRET_BYTES:
        raise BadSetting(f"{name} names a file that is empty, longer than {SECRET_BYTES:,} bytes, or holds a NUL.")
    return text


def umask_of(text: str) -> int:
    """Return UMASK, given as for umask(1). Raise BadSetting, also where the files would be of no use to ourselves."""
    if not re.fullmatch(r"0{0,2}[0-7]{2}", text.strip()):
        raise BadSetting(
            "UMASK must be octal: 077, or 027 to let the group read what is written; nothing of the owner's."
        )
    return int(text, 8)


def database_config(url: str) -> dict[str, Any]:
    """Return Django's settings for DATABASE_URL; raise BadSetting."""
    how = (
        "Write postgresql://user:password@host:port/name, with special characters percent-encoded, "
        "or sqlite:////absolute/path."
    )
    config: dict[str, Any] = {}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # they quote the address, password included; what matters is refused here
            parts = urlsplit(url.strip())
            # A # or @ there is a piece of a password that was not percent-encoded: it would be shown as a name.
            stray = parts.fragment or (parts.scheme != "sqlite" and "@" in parts.path)
            if not stray and not (parts.scheme == "sqlite" and parts.netloc):
                config = dict(environ.Env.db_url_config(url.strip()))
    except Exception:
        raise BadSetting(f"DATABASE_URL can't be read. {how}") from None  # what was raised may quote the password
    if not config.get("NAME") or config["ENGINE"].rpartition(".")[2] not in ("sqlite3", "postgresql"):
        raise BadSetting(f"DATABASE_URL names no database that this service can use. {how}")
    return config


@dataclass(frozen=True)
class Mail:
    """Where mail is handed in."""

    backend: Text
    host: Text = ""
    port: Whole = 0
    user: Text = ""
    password: Text = ""
    starttls: builtins.bool = False
    tls: builtins.bool = False


def mail_config(url: Text) -> Mail:
    """Return what EMAIL_URL says; raise BadSetting."""
    backend = "django.core.mail.backends."
    how = (
        "Write smtp://user:password@host:587 (STARTTLS), smtps://user:password@host:465, smtp://host:25?tls=no for a "
        "server within your own network, with special characters percent-encoded, or console: for mail in web's output."
    )
    try:
        parts = urlsplit(url.strip())
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise BadSetting(f"EMAIL_URL can't be read. {how}") from None
    if parts.scheme == "console":
        return Mail(backend + "console.EmailBackend")
    plain = parts.query == "tls=no"
    if parts.scheme not in ("smtp", "smtps") or not host or parts.path.strip("/") or parts.fragment:
        raise BadSetting(f"EMAIL_URL can't be read. {how}")
    if parts.query and not (plain and parts.scheme == "smtp"):
        raise BadSetting(f"EMAIL_URL can't be read. {how}")
    tls = parts.scheme == "smtps"
    return Mail(
        backend + "smtp.EmailBackend",
        host=host,
        port=port or (465 if tls else 25 if plain else 587),
        user=unquote(parts.username or ""),
        password=unquote(parts.password or ""),
        starttls=not tls and not plain,
        tls=tls,
    )


def host_of(url: str) -> str:
    """Return the host of a URL as `Host` headers and ALLOWED_HOSTS write it, blank if it has none."""
    try:
        host = urlsplit(url).hostname or ""
    except ValueError:
        return ""
    return f"[{host}]" if ":" in host else host


def problem_of_public_url(url: str) -> str:
    """Return what is wrong with PUBLIC_URL, blank if nothing is."""
    example = "such as https://spells.example.com"
    try:
        parts = urlsplit(url)
        known = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        known = False
    if not known:
        return f"PUBLIC_URL must begin with https:// (or http://), and name a host, {example}."
    if parts.path.strip("/") or parts.query or parts.fragment or "@" in parts.netloc:
        return f"PUBLIC_URL must be scheme, host and port alone, {example}: links are made by adding a path to it."
    return ""


NAME = re.compile(r"[\w.-]+/[\w.-]+", re.ASCII)
CLONED = re.compile(r"(?:(?:https?|ssh|git)://[^/\s]+/|[\w.-]+@[\w.-]+:)(?P<name>.+)", re.ASCII)


def repository_name(text: str) -> str:
    """Return owner/name, given so or as an address that GitHub shows for cloning; blank for blank. Raise BadSetting."""
    address = CLONED.fullmatch(text.strip())
    name = (address["name"] if address else text.strip()).rstrip("/").removesuffix(".git")
    if name and not NAME.fullmatch(name):
        raise BadSetting("GITHUB_REPOSITORY must be owner/name, such as acme/spells.")
    return name


def workflow_file(text: str) -> str:
    """Return the name of a file in .github/workflows. Raise BadSetting."""
    if not re.fullmatch(r"[\w.-]+\.ya?ml", text.strip()):
        raise BadSetting(
            "GITHUB_WORKFLOW_FILE must be the name of a file in .github/workflows, such as cast.yml; not its path."
        )
    return text.strip()


HOST = re.compile(r"\*|\.?[\w-]+(\.[\w-]+)*\.?|\[[0-9A-Fa-f:.]+\]")


def host_names(texts: list[str]) -> list[str]:
    """Return the items of ALLOWED_HOSTS. Raise BadSetting for one that can never be a request's host."""
    if not all(HOST.fullmatch(text) for text in texts):
        raise BadSetting(
            "ALLOWED_HOSTS must be host names, without scheme, port or path: spells.example.com, .example.com for all "
            "below it, [::1], or * for any."
        )
    return texts


def networks(texts: list[str], name: str = "TRUSTED_PROXIES") -> list[str]:
    """Return the items of a list of addresses and networks; none for the word "none". Raise BadSetting."""
    if [text.lower() for text in texts] == ["none"]:
        return []
    try:
        return [str(ipaddress.ip_network(text)) for text in texts]
    except ValueError:
        raise BadSetting(
            f"{name} must be addresses or networks, such as 127.0.0.1 or 10.0.0.0/8, or the word none."
        ) from None


def bind_address(text: str, name: str) -> str:
    """Return host:port, or blank. Raise BadSetting."""
    text = text.strip()
    host, _, port = text.rpartition(":")
    if text and not (host and port.isascii() and port.isdecimal() and 0 < int(port) < 65_536):
        raise BadSetting(f"{name} must be host:port, such as 127.0.0.1:8001 or 0.0.0.0:8001, or blank.")
    return text
