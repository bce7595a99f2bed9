"""Everything at once, on this machine: web, worker, the local GitHub, and one cast to watch."""

import io
import secrets
import shlex
import signal
import time
import uuid
from argparse import ArgumentParser
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from accounts import credit, keys
from accounts.models import SCOPES, Account, ApiKey, Membership, Role, usual_scopes
from casts.spells import toml
from core.errors import Unauthorized
from payments import customers
from payments.setup import Setup
from spellplatform.demo import environment, money, receive, spells_file, tour
from spellplatform.demo.processes import NotStarted, Processes

ACCOUNT, CAP_CENTS, ADMIN = "demo", 10_00, "admin"
GIFT_CENTS = 7  # three casts or so, so that the way to 402 is short
CALLBACK = f', "callback_url": "http://127.0.0.1:{receive.PORT}/"'


class Command(BaseCommand):
    help = (
        "Start web, worker and the local GitHub, cast a spell, show it, and keep serving until Ctrl-C. "
        "“manage.py demo COMMAND …” runs another command with the demo's settings, such as “manage.py demo doctor”."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--once", action="store_true", help="end after the cast; code 0 only if all went well")
        parser.add_argument(
            "--billing", action="store_true", help="have the account pay, at a local Stripe; each start begins anew"
        )
        parser.add_argument(
            "--repository",
            action="append",
            default=[],
            type=Path,
            metavar="FOLDER",
            help="a working tree of your own, which the local GitHub serves too, as demo/NAME; may be repeated",
        )

    def handle(self, *, once: bool, billing: bool, repository: list[Path], **options: object) -> None:
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
                self.start(processes)
                self.stdout.write(f"Up after {time.monotonic() - began:.1f} s.\n")
                progress_url = self.cast(key)
                if once and billing:
                    self.tour_of_money(key)
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
        if settings.BILLING:
            begin_billing(account)
        file = settings.VAR_DIR / "login.json"  # the database keeps only hashes of these two
        kept = environment.read(file)
        key, password = kept.get("key", ""), kept.get("password") or secrets.token_urlsafe(9)
        if not opens(key, account):
            ApiKey.objects.filter(account=account, name=ACCOUNT, revoked_at=None).update(revoked_at=timezone.now())
            _, key = keys.create(account, name=ACCOUNT, scopes=scopes_of_the_demo())
        environment.keep(file, {"key": key, "password": password})
        user, _ = get_user_model().objects.get_or_create(
            username=ADMIN, defaults={"is_staff": True, "is_superuser": True}
        )
        if not user.check_password(password):
            user.set_password(password)
            user.save()
        # The page about money, to which the demo leads, lets owners and admins top up.
        Membership.objects.update_or_create(account=account, user=user, defaults={"role": Role.OWNER})
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

    def start(self, processes: Processes) -> None:
        if settings.BILLING:
            self.say_at_once("Starting the local Stripe, and making there what billing needs …")
            processes.start_stripe()
            setup = Setup(lambda line: self.stdout.write(f"  {line}"))
            setup.run()
            # With these it signs what it tells the web process, which is yet to start.
            environment.change(STRIPE_WEBHOOK_SECRET=",".join(setup.secrets))
        self.say_at_once("Starting web, worker and the local GitHub …")
        processes.start()

    def tour_of_money(self, key: str) -> None:
        """Go the whole way: spend, save a card, top up, top up by itself, dispute. Raise tour.Failed."""
        self.stdout.write("\nMoney, at the local Stripe:\n")
        stripe = money.Stripe(settings.STRIPE_API_URL, settings.STRIPE_SECRET_KEY)
        money.Money(settings.PUBLIC_URL, key, stripe, self.say_at_once).go()
        for command in ("verifyledger", "verifybilling"):
            self.say_at_once(f"\n{command}:")
            call_command(command, stdout=self.stdout)

    def say_at_once(self, line: str) -> None:
        self.stdout.write(line)
        self.stdout.flush()

    def show_money(self, key: str) -> None:
        base = f"curl -sS {settings.PUBLIC_URL}/api/v1/billing"
        json_of = f"-H 'Authorization: Bearer {key}' -H 'Content-Type: application/json'"
        auto = f'{{"auto_topup": {{"below_cents": {money.BELOW_CENTS}, "cents": {money.TOPUP_CENTS}}}}}'
        dispute = ".venv/bin/python -m spellplatform.demo.money"
        folder = "" if settings.VAR_DIR.name == "demo-billing" else f" --folder {shlex.quote(str(settings.VAR_DIR))}"
        self.stdout.write(
            f"\nThe account pays for its casts, from a credit of {money.cents(GIFT_CENTS)} to begin with. Nobody pays "
            "really:\ncards and money are the local Stripe's.\n\n"
            f"Page           {settings.PUBLIC_URL}/account/money/   (log in as {ADMIN}, below)\n\n"
            "Save a test card (4242 4242 4242 4242, any date to come, any CVC): open the page that this answers:\n\n"
            f"{base}/setup {json_of} -d '{{}}'\n\n"
            "Cast until the answer is 402 (the line is below). Then top up, and have it topped up by itself:\n\n"
            f"{base}/topups {json_of} -d '{{\"cents\": {money.TOPUP_CENTS}}}'\n"
            f"{base} -X PATCH {json_of} -d '{auto}'\n\n"
            "Object to the newest payment, as the holder of the card; then have that decided:\n\n"
            f"{dispute} dispute{folder}\n{dispute} won{folder}"
        )

    def show(self, key: str, password: str, progress_url: str, own: Sequence[str] = ()) -> None:
        if settings.BILLING:
            self.show_money(key)
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


def scopes_of_the_demo() -> list[str]:
    also = ["billing"] if settings.BILLING else []
    return [scope for scope in SCOPES if scope in (*usual_scopes(), *also)]


def begin_billing(account: Account) -> None:
    """Have the account pay, from a small credit."""
    customers.begin(account, email=f"{ACCOUNT}@example.com")
    credit.book(account.pk, "grant", GIFT_CENTS, f"grant:{uuid.uuid4()}", note="a gift to begin with", by="the demo")


def opens(key: str, account: Account) -> bool:
    try:
        return keys.authenticate(key).account_id == account.pk
    except Unauthorized:
        return False
