"""Settings for tests: on SQLite in a file, or on the Postgres that TEST_DATABASE_URL names."""

import atexit
import functools
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import serialization

from tests.strong import SECRET_KEY, WEBHOOK_SECRET

# An RSA key is checked whenever it is read, which takes longer than most tests; ours are always the same.
_read_key: Any = functools.cache(serialization.load_pem_private_key)
serialization.load_pem_private_key = _read_key

_folder, _owner = Path(tempfile.mkdtemp(prefix="spell-tests-")), os.getpid()


@atexit.register
def _leave_nothing() -> None:
    if os.getpid() == _owner:  # and not what it has forked
        shutil.rmtree(_folder, ignore_errors=True)


os.environ.update(
    IGNORE_ENV_FILE="1",
    DEBUG="0",
    SECRET_KEY=SECRET_KEY,
    VAR_DIR=str(_folder),
    ARTIFACT_ROOT=str(_folder / "artifacts"),
    PUBLIC_URL="http://testserver",
    ALLOWED_HOSTS="testserver,127.0.0.1,localhost",
    DATABASE_URL=os.environ.get("TEST_DATABASE_URL") or f"sqlite:///{_folder / 'spell.sqlite3'}",
    LOG_LEVEL="WARNING",
    ATTENTION_COUNT_SECONDS="0",  # what one test counted is nothing to the next, and pages' queries are counted
    WEB_STATEMENT_SECONDS="0",  # workers share the process here
    GITHUB_API_URL="http://127.0.0.1:9",  # nobody listens there; tests that need a GitHub say which
    GITHUB_API_VERSION="2026-03-10",
    GITHUB_APP_ID="1",
    GITHUB_APP_PRIVATE_KEY=str(Path(__file__).parent / "data" / "app.pem"),
    GITHUB_APP_INSTALLATION_ID="1",
    GITHUB_REPOSITORY="demo/spells",
    # Tests are in a hurry, and what a process has taken would outlive a test's transaction.
    **{f"RATION_{name}": "0" for name in ("PER_KEY", "PER_ACCOUNT", "PER_LINK", "PER_ADDRESS")},
    **{f"RATION_{name}": "0" for name in ("BAD_KEYS", "BAD_SIGNATURES", "FAILED_LOGINS", "FAILED_LOGINS_PER_USER")},
    GITHUB_WEBHOOK_SECRET=WEBHOOK_SECRET,
)
os.environ.pop("GITHUB_TOKEN", None)

from spellplatform.settings import *  # noqa: E402, F403
from spellplatform.settings import DATABASES, SILENCED_SYSTEM_CHECKS  # noqa: E402

# In a file, so that threads and processes of one test see one database; on Postgres a name of its own for each lane.
if "sqlite" in DATABASES["default"]["ENGINE"]:
    DATABASES["default"]["TEST"] = {"NAME": str(_folder / "test.sqlite3")}
else:
    DATABASES["default"]["TEST"] = {"NAME": os.environ.get("TEST_DATABASE_NAME")}
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]  # fast; nobody's password
KEEP_CONNECTIONS = False
SILENCED_SYSTEM_CHECKS += ["spell.E007"]  # http://testserver is no address of this machine, and of no other
