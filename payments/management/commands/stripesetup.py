"""Make at Stripe what billing needs, and put right what is otherwise."""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from core import dotenv
from core.files import write_whole
from payments import client
from payments.setup import HINTS, Setup

SECRET = "STRIPE_WEBHOOK_SECRET"  # noqa: S105 - the setting's name


class Command(BaseCommand):
    help = (
        "Make the meter, the product, the price, the webhook endpoints and the portal's configuration at Stripe, or "
        "put them right. It may be run again at any time. What webhooks are signed with is shown once."
    )
    requires_system_checks = []  # what they miss may be what this command sets

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--check", action="store_true", help="only tell; end with code 1 if anything is amiss")
        parser.add_argument("--write", action="store_true", help=f"write {SECRET} to the .env file without asking")
        parser.add_argument("--env-file", metavar="FILE", help="default: .env beside manage.py")

    def handle(self, **options: Any) -> None:
        if not settings.BILLING:
            raise CommandError("Set STRIPE_SECRET_KEY first: without it there is no billing.")
        setup = Setup(self.say, check=options["check"])
        try:
            setup.run()
        except client.Unauthorized as exc:
            raise CommandError(f"Stripe refuses STRIPE_SECRET_KEY: {exc}") from exc
        except client.Unavailable as exc:
            raise CommandError(f"Stripe does not answer: {exc} Run the command again: it goes on from here.") from exc
        except client.StripeTrouble as exc:
            raise CommandError(f"Stripe refuses: {exc}") from exc
        finally:
            self._keep(setup.secrets, options)  # whatever happened after: they are shown once
        if setup.wrong:
            raise CommandError("Run it without --check to put this right." if options["check"] else "See above.")
        for hint in HINTS:
            self.say(f"  {hint}")

    def say(self, text: str) -> None:
        self.stdout.write(text)

    def _keep(self, secrets: list[str], options: dict[str, Any]) -> None:
        if not secrets:
            return
        # Those of before may be of another endpoint, which still signs with them.
        value = ",".join(dict.fromkeys([*secrets, *settings.STRIPE_WEBHOOK_SECRETS]))
        self.say(f"\nStripe shows this once. Give it to web and workers:\n\n  {SECRET}={value}\n")
        path = Path(options["env_file"] or Path(settings.BASE_DIR) / ".env").expanduser().absolute()
        if not options["write"] and not (sys.stdin.isatty() and input(f"Write it to {path}? [y/N] ").lower() == "y"):
            return
        try:
            text = path.read_text(encoding="utf-8") if path.exists() else ""
            _, problems = dotenv.parse(text)
            if problems:
                raise CommandError(f"{path} can't be read. {problems[0]} Add the line by hand.")
            new = dotenv.changed(text, {SECRET: value}, gone=[f"{SECRET}_FILE"], note="Replaced by stripesetup")
            write_whole(path, new, like=path.stat() if path.exists() else None)
        except (OSError, ValueError) as exc:
            raise CommandError(f"{path} can't be written: {exc}. Add the line by hand.") from exc
        self.say(f"Written to {path}. Restart web and workers: settings are read at their start.")
