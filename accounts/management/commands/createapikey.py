"""Make an API key on the command line."""

import datetime as dt
from argparse import ArgumentParser

from django.core.exceptions import ValidationError
from django.core.management.base import CommandError
from django.db import transaction
from django.utils import timezone

from accounts import keys, principals
from accounts.audit import log
from accounts.models import SCOPES, Account, usual_scopes
from core.commands import DatabaseCommand
from core.times import MOST_DAYS


class Command(DatabaseCommand):
    help = "Make an API key and print it, this once. The account is made if there is none of that name."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("account", help="the account's name")
        parser.add_argument("--name", default="command line", help="what or whom the key is for")
        parser.add_argument(
            "--scopes", help=f"separated by commas, of: {', '.join(SCOPES)} (default: {','.join(usual_scopes())})"
        )
        parser.add_argument("--spells", help="the only spells it may cast, separated by commas (default: all)")
        parser.add_argument("--days", type=int, help="days until it expires (default: never)")
        parser.add_argument("--cap-cents", type=int, help="for a new account: cents per month (default: no cap)")

    def handle(
        self,
        *,
        account: str,
        name: str,
        scopes: str | None,
        spells: str | None,
        days: int | None,
        cap_cents: int | None,
        **options: object,
    ) -> None:
        if days is not None and not 1 <= days <= MOST_DAYS:
            raise CommandError(f"--days is 1 to {MOST_DAYS}")
        command = principals.of_command("createapikey")
        try:
            with transaction.atomic():  # a key that can't be made leaves no account behind
                owner = Account.objects.filter(name=account).first()
                if owner is None:
                    owner = Account(name=account, monthly_cap_cents=cap_cents)
                    owner.full_clean()
                    owner.save()
                key, secret = keys.create(
                    owner,
                    name=name,
                    # A blank value, as from an unset shell variable, is refused: it must not mean "all".
                    scopes=scopes.split(",") if scopes is not None else None,
                    spell_keys=spells.split(",") if spells is not None else None,
                    expires_at=timezone.now() + dt.timedelta(days=days) if days else None,
                    by=command,
                )
                facts = {"name": key.name, "prefix": key.prefix, "scopes": key.scopes, "spell_keys": key.spell_keys}
                log.record(command, "key.create", key, account_id=owner.pk, after=facts)
        except ValidationError as exc:
            raise CommandError("; ".join(exc.messages)) from exc
        self.stderr.write(f"API key {key.pk} for {owner}, shown this once:")
        # Alone on stdout, so that it can be piped.
        self.stdout.write(secret)
