"""Run the bench: python -m tests.bench [--only NAME ...] [--quick]; --help lists the rest."""

from __future__ import annotations

import argparse
import datetime as dt
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path

from tests.bench import database
from tests.bench.charts import chart
from tests.bench.items import delivery, ends, history, lag, layout, rationing, requests, streams, worker
from tests.bench.measures import machine
from tests.bench.report import Findings
from tests.bench.run import Run
from tests.bench.streams import many_files
from tests.e2e.platform import ROOT

ITEMS: dict[str, Callable[[Run], None]] = {
    "streams": streams.measure,
    "webhook-to-client": delivery.to_one,
    "broadcast": delivery.to_all,
    "webhooks": requests.webhooks,
    "casts": requests.casts,
    "rationing": rationing.measure,
    "history": history.measure,
    "dispatch": worker.dispatch,
    "ends": ends.measure,
    "worker": worker.many_open,
    "lag": lag.measure,
    "layout": layout.measure,
    "held": delivery.held,
}
USUAL = [name for name in ITEMS if name not in ("layout", "held")]  # in fifteen minutes
CHARTS = {
    "latency": ("Event to one stream, by number of open streams", "open streams", "median, milliseconds"),
    "memory": ("Memory by number of open streams", "open streams", "KB per stream (PSS)"),
    "growth in streams": (
        "What one stream costs as they become more",
        "open streams",
        "times its cost at 100 streams",
    ),
    "growth in casts": ("Cost by number of casts", "casts in the database", "p95, milliseconds"),
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description="Measure the product beside its peers.")
    parser.add_argument("--only", nargs="+", choices=ITEMS, default=USUAL, metavar="NAME", help=", ".join(ITEMS))
    parser.add_argument("--quick", action="store_true", help="small numbers, in two to three minutes")
    parser.add_argument("--json", type=Path, default=ROOT / "var" / "bench.json", help="where figures are written")
    parser.add_argument("--markdown", type=Path, help="where the tables are written too")
    parser.add_argument("--images", type=Path, help="where charts are written; docs/images for a whole run")
    given = parser.parse_args()
    many_files()
    before = machine()
    with tempfile.TemporaryDirectory(prefix="spell-bench-") as folder:
        Path(folder).chmod(0o755)  # Postgres runs as another user
        (Path(folder) / "postgres").mkdir()
        with database.postgres(Path(folder) / "postgres") as url:
            run = Run(Path(folder), url, quick=given.quick)
            run.findings.conditions |= before | conditions(url)
            failed = measure(run, given.only)
    run.findings.conditions["took"] = f"{time.monotonic() - run.began:.0f} s"
    text = run.findings.markdown()
    print("\n" + text)
    given.json.parent.mkdir(parents=True, exist_ok=True)
    given.json.write_text(run.findings.json())
    if given.markdown:
        given.markdown.write_text(text)
    whole = not given.quick and set(given.only) >= set(USUAL)
    if images := given.images or (ROOT / "docs" / "images" if whole else None):
        draw(run.findings, images)
    return 1 if failed else 0


def measure(run: Run, names: list[str]) -> list[str]:
    """Measure each; what breaks is told at the end, and does not stop the others."""
    failed = []
    for name in names:
        run.say(f"--- {name}")
        try:
            ITEMS[name](run)
        except Exception as exc:
            traceback.print_exc()
            run.skip(name, f"broke: {type(exc).__name__}: {exc}")
            failed.append(name)
    return failed


def conditions(url: str) -> dict[str, str]:
    import django
    import gunicorn

    [(version,)] = database.execute(url, "SHOW server_version")
    [(fsync,)] = database.execute(url, "SHOW fsync")
    return {
        "date": f"{dt.datetime.now(dt.UTC):%Y-%m-%d %H:%M} UTC",
        "software": f"Python {sys.version.split()[0]}, Django {django.__version__}, gunicorn {gunicorn.__version__}, "
        f"Postgres {version} (fsync {fsync})",
        "layout": "clients, servers and Postgres on the same machine, over loopback",
    }


def draw(findings: Findings, folder: Path) -> None:
    """Write one SVG for each chart that has lines."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, (title, x_title, y_title) in CHARTS.items():
        if lines := [line for line in findings.lines if line.chart == name and line.points]:
            file = folder / f"bench-{name.replace(' ', '-')}.svg"
            file.write_text(chart(title, x_title, y_title, lines))
            print(f"wrote {file}")


if __name__ == "__main__":
    sys.exit(main())
