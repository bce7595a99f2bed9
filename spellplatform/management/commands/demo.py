"""Everything at once, on this machine: web, worker, the local GitHub, and one cast to watch."""

import io
import secrets
import shlex
import signal
import time
from argparse import ArgumentParser
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from accounts import keys
from accounts.models import SCOPES, Account, ApiKey, Membership
from casts.spells import toml
from core.errors import Unauthorized
from spellplatform.demo import environment, receive, spells_file, tour
from spellplatform.demo.processes import NotStarted, Processes

ACCOUNT, CAP_CENTS, ADMIN = "demo", 10_00, "admin"
CALLBACK = f', "callback_url": "http://127.0.0.1:{receive.PORT}/"'


class Command(BaseCommand):
    help = (
        "Start web, worker and the local GitHub, cast a spell, show it, and keep serving until Ctrl-C. "
        "“manage.py demo COMMAND …” runs another command with the demo's settings, such as “manage.py demo doctor”."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--once", action="store_true", help="end after the cast; code 0 only if all went well")
        parser.add_argument(
            "--repository",
            action="append",
            default=[],
            type=Path,
            metavar="FOLDER",
            help="a working tree of your own, which the local GitHub serves too, as demo/NAME; may be repeated",
        )

    def handle(self, *, once: bool, repository: list[Path], **options: object) -> None:
        try:
            served = environment.repositories(repository)
        except ValueError as exc:
            raise CommandError(str(exc)) from exc

        def end(signum: int, frame: FrameType | None) -> None:
            raise KeyboardInterrupt

        signal.signal(signal.SIGTERM, end)
        began = time.monotonic()
        self.stdout.write("Preparing the database …")
        key, password = self.prepare()
        try:
            with Processes(settings.VAR_DIR, served) as processes:
                self.stdout.write("Starting web, worker and the local GitHub …")
                processes.start()
                self.stdout.write(f"Up after {time.monotonic() - began:.1f} s.\n")
                progress_url = self.cast(key)
                if not once:
                    self.show(key, password, progress_url, [name for name in served if name != environment.REPOSITORY])
                    self.stdout.write("\nServing until Ctrl-C.")
                while not once:
                    processes.check()
                    time.sleep(0.5)
            self.stdout.write(f"\nLogs           {settings.VAR_DIR}/logs\n\nStopped.")
        except (NotStarted, tour.Failed) as exc:
            raise CommandError(str(exc)) from exc
        except KeyboardInterrupt:
            self.stdout.write("\nStopped.")
            if once:
                raise CommandError("Interrupted before the cast ended.") from None

    def prepare(self) -> tuple[str, str]:
        """Bring the database up to date; return an API key and the admin's password, those of the last start if any."""
        call_command("migrate", verbosity=0, stdout=io.StringIO())
        account, _ = Account.objects.get_or_create(name=ACCOUNT, defaults={"monthly_cap_cents": CAP_CENTS})
        toml.load(spells_file())
        file = settings.VAR_DIR / "login.json"  # the database keeps only hashes of these two
        kept = environment.read(file)
        key, password = kept.get("key", ""), kept.get("password") or secrets.token_urlsafe(9)
        if not opens(key, account):
            ApiKey.objects.filter(account=account, name=ACCOUNT, revoked_at=None).update(revoked_at=timezone.now())
            _, key = keys.create(account, name=ACCOUNT)
        environment.keep(file, {"key": key, "password": password})
        user, _ = get_user_model().objects.get_or_create(
            username=ADMIN, defaults={"is_staff": True, "is_superuser": True}
        )
        if not user.check_password(password):
            user.set_password(password)
            user.save()
        Membership.objects.get_or_create(account=account, user=user)
        return key, password

    def cast(self, key: str) -> str:
        """Cast, follow and download; return the address of the cast's page. Raise tour.Failed."""
        cast = tour.cast(settings.PUBLIC_URL, key)
        self.stdout.write(f"Cast {cast['cast_id']} of spell {cast['spell_key']} ({cast['cost_cents']} cents):")
        self.stdout.flush()
        final = tour.watch(cast["events_url"], key)
        report = tour.result(final)
        tour.page_answers(cast["progress_url"], cast["cast_id"])
        self.stdout.write(f"\nreport.md of its artifact (digest checked):\n\n{report}")
        return str(cast["progress_url"])

    def show(self, key: str, password: str, progress_url: str, own: Sequence[str] = ()) -> None:
        base = settings.PUBLIC_URL
        curl = (
            f"curl -sS {base}/api/v1/cast -H 'Authorization: Bearer {key}' -H 'Content-Type: application/json' "
            '-H \'Prefer: wait=30\' -d \'{"spell_key": "greet", "input": {"name": "Merlin"}CALLBACK}\''
        )
        manage = ".venv/bin/python manage.py demo"
        if settings.VAR_DIR.name != "demo":
            manage = f"VAR_DIR={shlex.quote(str(settings.VAR_DIR))} {manage}"
        self.stdout.write(
            f"\nProgress page  {progress_url}\n"
            f"Admin          {base}/admin/   user {ADMIN}, password {password}\n"
            f"API            {base}/api/v1/docs\n"
            f"Logs           {settings.VAR_DIR}/logs\n\n"
            f"Cast one yourself:\n\n{curl.replace('CALLBACK', '')}\n\n"
            "Be called when it has ended: start a receiver in another terminal, then cast with its address:\n\n"
            f".venv/bin/python -m spellplatform.demo.receive\n\n{curl.replace('CALLBACK', CALLBACK)}\n\n"
            "Load spells of your own (docs/how-to/write-a-spell.md); they run the files in this folder's\n"
            "  .github/workflows. Have it all checked, and make a key that may do everything:\n\n"
            f"{manage} loadspells my-spells.toml\n{manage} doctor\n"
            f"{manage} createapikey {ACCOUNT} --scopes {','.join(SCOPES)}"
        )
        if own:
            imports = "\n".join(f"{manage} importspells {name}" for name in own)
            self.stdout.write(f"\nMake spells of the workflows in your own repositories:\n\n{imports}")


def opens(key: str, account: Account) -> bool:
    try:
        return keys.authenticate(key).account_id == account.pk
    except Unauthorized:
        return False
