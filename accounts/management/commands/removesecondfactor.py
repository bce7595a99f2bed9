"""Let somebody in again who has lost phone and recovery codes."""

from argparse import ArgumentParser

from django.contrib.auth.models import User
from django.core.management.base import CommandError
from django.db import transaction

from accounts import principals, second_factor, sessions
from accounts.audit import log
from core.commands import DatabaseCommand


class Command(DatabaseCommand):
    help = "Remove a user's second factors and end all sessions; the password alone logs in again."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("username")

    def handle(self, *, username: str, **options: object) -> None:
        user = User.objects.filter(username=username).first()
        if user is None:
            raise CommandError(f"There is no user {username}.")
        with transaction.atomic():
            removed = second_factor.remove(user)
            ended = sessions.end(user)
            log.record(principals.of_command("removesecondfactor"), "second_factor.remove", user)
        self.stdout.write(
            f"Removed {removed} second factors of {username}, recovery codes included; ended {ended} sessions."
        )
