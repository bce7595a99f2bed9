#!/usr/bin/env python
"""Django's command line for this project."""

import os
import sys


def main() -> None:
    """Run one management command."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "spellplatform.settings")
    if sys.argv[1:2] == ["demo"]:
        # The demo brings its own configuration, which must be there before settings are read.
        from spellplatform.demo.environment import prepare

        prepare()
    from django.core.exceptions import ImproperlyConfigured
    from django.core.management import execute_from_command_line

    try:
        execute_from_command_line(sys.argv)
    except ImproperlyConfigured as exc:
        sys.exit(f"{exc}")  # a setting; where in our code it was read helps nobody


if __name__ == "__main__":
    main()
