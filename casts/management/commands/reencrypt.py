"""After a change of FIELD_ENCRYPTION_KEYS or SECRET_KEY: seal everything with the newest key."""

from django.core.management.base import CommandError

from accounts import second_factor
from accounts.models import Account
from casts.models import CallbackEndpoint
from core.commands import DatabaseCommand
from core.sealing import reseal

SEALED = ((Account, "sealed_callback_secrets"), (CallbackEndpoint, "sealed_secrets"))


class Command(DatabaseCommand):
    help = "Encrypt the secrets in the database with the newest key, so that older ones can be left out afterwards."

    def handle(self, **options: object) -> None:
        lost: list[str] = []
        for model, field in SEALED:
            done, unreadable = reseal(model._default_manager.all(), field)
            self.stdout.write(f"{model._meta.verbose_name_plural}: {done} encrypted anew")
            lost += [f"{model._meta.verbose_name} {key}" for key in unreadable]
        done, factors = second_factor.reseal()
        self.stdout.write(f"second factors: {done} encrypted anew")
        lost += [f"second factor {key}" for key in factors]
        if lost:
            more = f" and {len(lost) - 20} more" if len(lost) > 20 else ""
            raise CommandError(
                f"These can't be read with any key that is set: {', '.join(lost[:20])}{more}. "
                "Add the key that they were encrypted with to FIELD_ENCRYPTION_KEYS, or the SECRET_KEY of that time to "
                "SECRET_KEY_FALLBACKS, and run this again; or have their owners rotate them."
            )
