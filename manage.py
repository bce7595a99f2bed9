#!/usr/bin/env python
"""Django's command line for this project."""

import os
import sys


def main() -> None:
    """Run one management command."""
    if sys.argv[1:] in (["version"], ["--version"], ["demo", "version"]):
        # Django answers these itself, with its own version alone. No setting is read, so none can be in the way.
        from spellplatform.management.commands.version import Command

        Command().run_from_argv([sys.argv[0], "version"])
        return
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "spellplatform.settings")
    if sys.argv[1:2] == ["demo"]:
        # The demo brings its own configuration, which must be there before settings are read.
        from spellplatform.demo import environment
        from spellplatform.env import IGNORE

        os.environ[IGNORE] = "1"
        if sys.argv[2:] and not sys.argv[2].startswith("-"):  # another command, with the demo's configuration
            environment.reuse()
            del sys.argv[1]
        elif not {"-h", "--help"} & set(sys.argv):
            environment.prepare(billing="--billing" in sys.argv)
    from django.core.exceptions import ImproperlyConfigured
    from django.core.management import execute_from_command_line
    from django.db import DatabaseError, connection

    try:
        execute_from_command_line(sys.argv)
        sys.stdout.flush()
    except BrokenPipeError:
        try:
            sys.stdout.flush()
        except BrokenPipeError:  # whoever read what we print wants no more of it, as with `… | head`
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(1)
        raise  # another connection's
    except ImproperlyConfigured as exc:
        sys.exit(f"{exc}")  # a setting; where in our code it was read helps nobody
    except DatabaseError as exc:
        if connection.connection is not None:
            raise
        from core.commands import unusable

        sys.exit(unusable(exc))  # there was no connecting at all, so nothing of ours is to blame


if __name__ == "__main__":
    main()
