#!/usr/bin/env python
"""Django's command line for this project."""

import os
import sys


def main() -> None:
    """Run one management command."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "spellplatform.settings")
    if sys.argv[1:2] == ["demo"]:
        # The demo brings its own configuration, which must be there before settings are read.
        from spellplatform.demo import environment

        if sys.argv[2:] and not sys.argv[2].startswith("-"):  # another command, with the demo's configuration
            environment.reuse()
            del sys.argv[1]
        elif not {"-h", "--help"} & set(sys.argv):
            environment.prepare()
    from django.core.management import execute_from_command_line

    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
