"""Make the GitHub App, keep its credentials, go on to its installation and its first spells."""

from __future__ import annotations

import os
import queue
import re
import signal
import subprocess
import sys
import webbrowser
from argparse import ArgumentParser
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError

from accounts import principals
from core.commands import why_unready
from core.files import alone_in
from github_integration import errors
from github_integration.connecting.exchange import Exchange, Lost, code_of, installation_page, printable, record
from github_integration.connecting.local_page import LocalPage
from github_integration.connecting.manifest import WEBHOOK_PATH, Asked, BadAnswer, github_of, is_local, origin_of
from github_integration.connecting.places import (
    APP_ID,
    INSTALLATION,
    KEY,
    CantWrite,
    EnvFile,
    Place,
    SecretsFolder,
    refuse_overridden,
)
from github_integration.connecting.waiting import github_with, installations
from github_integration.details import InstallationDetails, NewApp
from github_integration.doctor.hook import can_reach

SHOWN = 10  # repositories that are named, and made spells of
NAME = re.compile(r"[\w.-]+/[\w.-]+", re.ASCII)
SETTINGS = (APP_ID, KEY, INSTALLATION, "GITHUB_WEBHOOK_SECRET", "GITHUB_API_URL", "PUBLIC_URL", "SECRET_KEY")
FORM_SECONDS = 3600.0  # how long GitHub's answer is waited for


class Command(BaseCommand):
    help = (
        "Make the GitHub App in the browser, write its credentials to .env or a folder of secrets, wait until it is "
        "installed, and make spells of the workflows found. Run it again to go on where it was ended."
    )
    requires_system_checks = []  # what they miss is what this command sets
    page: LocalPage | None = None

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--organization", default="", help="that will own the App; without, your own account")
        parser.add_argument("--github", default="", metavar="URL", help="default: https://github.com")
        parser.add_argument("--name", default="Spell Platform", help="the App's; it can be changed on GitHub's page")
        parser.add_argument("--public-url", default="", metavar="URL", help="where GitHub reaches this service")
        parser.add_argument("--no-webhooks", action="store_true", help="the worker asks instead, a little later")
        parser.add_argument("--repository-dispatch", action="store_true", help="which needs contents: write")
        where = parser.add_mutually_exclusive_group()
        where.add_argument("--env-file", metavar="FILE", help="default: .env beside manage.py")
        where.add_argument("--secrets", metavar="DIR", help="a folder, with a file for each setting")
        parser.add_argument("--port", type=int, default=0, help="of the page here; without, one that is free")
        parser.add_argument("--no-browser", action="store_true", help="only print the address")
        parser.add_argument("--code", default="", help="GitHub's, or the address it sent the browser to, by hand")
        parser.add_argument("--new-app", action="store_true", help="make one although there is one")
        parser.add_argument("--installation", type=int, metavar="ID", help="which one, if there are several")
        parser.add_argument("--wait", type=float, default=900.0, metavar="SECONDS", help="for the installation")
        parser.add_argument("--yes", action="store_true", help="make the spells without asking")
        parser.add_argument("--no-spells", action="store_true", help="neither make any nor ask")

    def handle(self, **options: Any) -> None:
        self.options = options
        place = where_to(options)
        try:
            place.check()
            with alone_in(place.folder) as alone:
                if not alone:
                    raise CommandError(f"Another connectgithub is at work for {place.path}. Wait for it, or end it.")
                self._connect(place)
        except (CantWrite, BadAnswer, Lost, errors.GitHubError) as exc:
            kept = " Run the same command again: it goes on from here." if Exchange(place).pending() else ""
            raise CommandError(f"{printable(str(exc), 2000).rstrip('.')}.{kept}") from exc
        except KeyboardInterrupt:
            raise CommandError("Ended. Run the same command again: it goes on from here.") from None
        except OSError as exc:
            raise CommandError(f"{place.folder} can't be used: {exc.strerror}.") from exc
        finally:
            if self.page is not None:
                self.page.close()

    def say(self, text: str = "") -> None:
        self.stdout.write(text + "\n")
        self.stdout.flush()

    def _hear(self, what: str) -> None:
        self.say(f"GitHub: {printable(what)}. Trying again.")

    def _connect(self, place: Place) -> None:
        exchange = Exchange(place)
        if self.options["new_app"] or self.options["code"]:
            exchange.forget_code()
        with uninterrupted():
            app = exchange.go_on(secret_key=lacks_secret_key())
        if app is not None:
            self.say("An earlier run was ended before it had written what GitHub gave: it is written now.")
            self._tell(exchange, app)
        values = place.read()
        if app is None and (self.options["new_app"] or self.options["code"] or not values.get(APP_ID)):
            refuse_overridden(place)
            self._make(place, exchange)
            values = place.read()
        number = self._installation(place, values)
        self._next(place.read(), number)

    # --- the App ---------------------------------------------------------------------------------------------------

    def _make(self, place: Place, exchange: Exchange) -> None:
        asked = asked_for(self.options)
        if not asked.webhooks and not self.options["no_webhooks"]:
            self.say("GitHub can't reach this machine, so the App is made without webhooks: the worker asks instead.")
        if self.options["code"]:
            code, _ = code_of(self.options["code"])
            with uninterrupted():
                app = exchange.run(asked, code, secret_key=lacks_secret_key())
            self._tell(exchange, app)
            return
        page = self.page = open_page(asked, self.options)
        self.say(f"Open this page, if no browser does:\n\n  {page.start_address}\n")
        self.say(f"From another machine, reach it by: ssh -L {urlsplit(page.address).port}:{page.address[7:]} …")
        self._browse(page.start_address)
        try:
            answer = page.answers.get(timeout=FORM_SECONDS)
        except queue.Empty:
            raise CommandError("GitHub's answer did not come within an hour. Run it again.") from None
        try:
            with uninterrupted():
                app = exchange.run(asked, answer.code, secret_key=lacks_secret_key())
        except (CantWrite, Lost, errors.GitHubError) as exc:
            answer.refuse(f"{exc} Run the command again: if the code still counts, it goes on from here.")
            raise
        self._tell(exchange, app)
        answer.lead_to(installation_page(asked.github, app.url, app.slug))

    def _tell(self, exchange: Exchange, app: NewApp) -> None:
        self.say(f"GitHub has made the App “{printable(app.name)}” (App ID {app.id}).")
        for line in exchange.told:
            self.say(line)
        if not why_unready():  # before the first migrate there is no audit log
            record(principals.of_command("connectgithub"), exchange.asked, app, exchange.place)

    def _browse(self, address: str) -> None:
        shows = sys.platform == "darwin" or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
        if not self.options["no_browser"] and shows:
            webbrowser.open(address)

    # --- its installation ------------------------------------------------------------------------------------------

    def _installation(self, place: Place, values: dict[str, str]) -> int:
        """Return the installation that is the settings' now."""
        github = github_with(values)
        before = values.get(INSTALLATION, "")
        wanted = self.options["installation"] or (int(before) if re.fullmatch("[0-9]{1,18}", before) else 0)
        found = installations(github, seconds=0, tell=self._hear)
        if not found:
            app = github.app.details()
            address = installation_page(github_of(github.api_url), app.url, app.slug)
            self.say(f"Install the App, on the repositories with your workflows:\n\n  {printable(address)}\n")
            if self.page is None:
                self.page = open_installed_page(values.get("PUBLIC_URL") or settings.PUBLIC_URL)
                self._browse(address)
            found = installations(github, seconds=self.options["wait"], tell=self._hear)
        if not found:
            raise CommandError("It is not installed yet. Run the same command again: it goes on from here.")
        one = chosen(found, wanted)
        self.say(f"Installed on {printable(one.account)} (installation {one.id}).")
        for line in place.write({INSTALLATION: str(one.id)}):
            self.say(line)
        return one.id

    # --- and then --------------------------------------------------------------------------------------------------

    def _next(self, values: dict[str, str], number: int) -> None:
        """Make spells of what the installation opens, if that is wanted; say what is to be done next."""
        names = [one.full_name for one in next(iter(github_with(values).repositories(number)), [])]
        commands: list[list[str]] = []
        if not names:
            self.say("It opens no repository yet: add some on its page on GitHub. Then run this again.")
        elif not self.options["no_spells"]:
            self.say(f"It opens {', '.join(map(printable, names[:SHOWN]))}{' and more' if names[SHOWN:] else ''}.")
            commands = [["importspells", name] for name in names if NAME.fullmatch(name)][:SHOWN]
            if self._agreed():
                commands = [command for command in commands if not self._run(values, *command)]
        if why_unready():
            self.say(f"Make the tables of the database first: {sys.executable} manage.py migrate")
        for command in commands:
            self.say(f"To make spells of its workflows: {sys.executable} manage.py {' '.join(command)}")
        beside = Path(sys.executable).parent
        self.say(
            "\nRestart web and workers, if they run: settings are read at their start. If not, start them, each in a "
            f"terminal of its own, and make a key:\n\n  {beside}/gunicorn -c spellplatform/gunicorn.conf.py "
            f"spellplatform.asgi\n  {sys.executable} manage.py runworker\n"
            f"  {sys.executable} manage.py createapikey me --cap-cents 500"
        )

    def _agreed(self) -> bool:
        if self.options["yes"]:
            return True
        return sys.stdin.isatty() and input("Make spells of their workflows now? [Y/n] ").strip().lower() in ("", "y")

    def _run(self, values: dict[str, str], *command: str) -> bool:
        """Run another of our commands with the settings as they are now, which this process has read before."""
        taken = {name: value for name, value in values.items() if name in SETTINGS}
        environment = {name: value for name, value in os.environ.items() if name.removesuffix("_FILE") not in taken}
        start = [sys.executable, str(Path(settings.BASE_DIR) / "manage.py")]
        if why_unready():
            subprocess.run([*start, "migrate", "-v0"], env=environment | taken, cwd=settings.BASE_DIR, check=False)
        done = subprocess.run([*start, *command], env=environment | taken, cwd=settings.BASE_DIR, check=False)
        return done.returncode == 0


def asked_for(options: dict[str, Any]) -> Asked:
    """Return what the command line asks for. Raise BadAnswer."""
    github = origin_of(options["github"]) if options["github"] else github_of(settings.GITHUB_API_URL)
    public_url = (options["public_url"] or settings.PUBLIC_URL).strip().rstrip("/")
    asked = Asked(
        github=github or options["github"],
        organization=options["organization"],
        name=options["name"],
        public_url=public_url,
        repository_dispatch=options["repository_dispatch"],
    )
    webhooks = not options["no_webhooks"] and can_reach(public_url + WEBHOOK_PATH, asked.api_url)
    return Asked(**asked.as_kept() | {"webhooks": webhooks})


def where_to(options: dict[str, Any]) -> Place:
    if options["secrets"]:
        return SecretsFolder(Path(options["secrets"]).expanduser().absolute())
    return EnvFile(Path(options["env_file"] or Path(settings.BASE_DIR) / ".env").expanduser().absolute())


def lacks_secret_key() -> bool:
    try:
        return not settings.SECRET_KEY
    except ImproperlyConfigured:  # Django's own word for an empty one
        return True


def open_page(asked: Asked, options: dict[str, Any]) -> LocalPage:
    """Serve the page where PUBLIC_URL is, if that is here and free: GitHub leads there after the installation."""
    ports = [options["port"]] if options["port"] else [own_port(asked.public_url) or 0, 0]
    for port in ports:
        try:
            return LocalPage(asked, port)
        except OSError as exc:
            why = exc.strerror
    raise CommandError(f"Port {ports[0]} can't be had: {why}. Name another with --port.")


def open_installed_page(public_url: str) -> LocalPage | None:
    """Serve the page to which GitHub leads after the installation, unless a web process does, or it is elsewhere."""
    try:
        return LocalPage(None, port) if (port := own_port(public_url)) else None
    except OSError:
        return None


def own_port(url: str) -> int | None:
    parts = urlsplit(url)
    return parts.port if is_local(url) and parts.scheme == "http" else None


def chosen(found: list[InstallationDetails], wanted: int) -> InstallationDetails:
    """Return the wanted installation, or the only one."""
    named = [one for one in found if one.id == wanted]
    if named or len(found) == 1:
        return (named or found)[0]
    listed = "\n".join(f"  {one.id}  {printable(one.account)}" for one in found)
    raise CommandError(f"The App has several installations. Say which with --installation ID:\n{listed}")


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Put Ctrl-C and an ended terminal off until the end of what happens once."""
    heard: list[int] = []

    def later(number: int, frame: FrameType | None) -> None:
        heard.append(number)

    kinds = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {kind: signal.signal(kind, later) for kind in kinds}
    try:
        yield
    finally:
        for kind, handler in before.items():
            signal.signal(kind, handler)
    if heard:
        raise KeyboardInterrupt
