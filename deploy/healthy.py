"""Ask a process whether it is well: `healthy.py http://127.0.0.1:8000/livez [seconds to wait for a yes]`.

For health checks where there is no curl. It needs Python alone, and prints nothing but what is wrong.
"""

import sys
import time
import urllib.error
import urllib.request

EVERY = 0.25  # seconds between two looks


def trouble(url: str) -> str:
    """Return what is wrong, blank if the answer was 200."""
    try:
        # From the environment it would take a proxy, also for this machine.
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url, timeout=4) as answer:
            return "" if answer.status == 200 else f"answered {answer.status}"
    except urllib.error.HTTPError as exc:
        return f"answered {exc.code}"
    except (OSError, ValueError) as exc:
        return str(exc)


def main(url: str, seconds: str = "0") -> int:
    end = time.monotonic() + float(seconds)
    while wrong := trouble(url):
        if time.monotonic() >= end:
            print(f"{url}: {wrong}", file=sys.stderr)
            return 1
        time.sleep(EVERY)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
