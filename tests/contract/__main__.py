"""`python -m tests.contract`: write the recording anew. Look at what changed in it before you commit it."""

import os
import subprocess
import sys

if __name__ == "__main__":
    os.environ.pop("TEST_DATABASE_URL", None)
    command = [sys.executable, "-m", "pytest", "tests/contract", "-q"]
    sys.exit(subprocess.call(command, env=os.environ | {"CONTRACT_WRITE": "1"}))
