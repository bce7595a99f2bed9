"""The verdict on paper: what happened, in a few lines."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any

from tests.chaos.callers import Callers
from tests.chaos.evidence import Evidence
from tests.chaos.storm import Storm

RAISED = re.compile(r"^(?:[\w.]+\.)?(\w*(?:Error|Exception|Warning|Timeout)\w*): (.*)$", re.MULTILINE)


def counted(what: Counter[str]) -> str:
    """Write counts, the most frequent first."""
    return ", ".join(f"{name} {count}" for name, count in what.most_common() if count) or "none"


def percentile(values: list[float], share: float) -> float:
    """Return the value below which this share of sorted values lies."""
    return values[min(len(values) - 1, int(len(values) * share))] if values else 0.0


def report(evidence: Evidence, storm: Storm, callers: Callers, *, storm_seconds: float, quiet_seconds: float) -> str:
    """Return the figures of one trial."""
    casts = list(evidence.casts.values())
    took = sorted(cast["finished"] - cast["created"] for cast in casts if cast["finished"])
    lost = [cast["id"] for cast in casts if cast["status_reason"] == "dispatch_lost"]
    left = sum(1 for c in casts if c["status"] == "cancelled" and evidence.runs.get(c["id"]) and not c["run_id"])
    lines = [
        f"casts          {len(casts)} in {storm_seconds:.0f} s of storm, {len(casts) / max(storm_seconds, 1):.2f} a "
        f"second; all quiet {quiet_seconds:.0f} s later",
        f"ends           {counted(Counter(c['status'] + '/' + c['status_reason'] for c in casts))}",
        f"time to end    p50 {percentile(took, 0.5):.1f} s, p95 {percentile(took, 0.95):.1f} s, "
        f"max {max(took, default=0):.1f} s",
        *(f"slow           {timeline(evidence, cast)}" for cast in slowest(casts)),
        f"kills          {counted(storm.kills)}",
        f"freezes        {counted(storm.freezes)}",
        f"faults         {counted(Counter(evidence.record['faults']))}",
        f"               {storm.gusts} gusts, {storm.noise} runs of strangers",
        f"dispatches     {tried(casts)}",
        f"callers        {counted(callers.answers)}",
        f"followers      {len(evidence.watches)}, {sum(w.reconnects for w in evidence.watches)} reconnections",
        f"callbacks      {len(evidence.told)} arrived, for {len({told.cast_id for told in evidence.told})} casts",
        f"artifacts      {sum(len(found) for found in evidence.artifacts.values())}",
        f"dispatch_lost  {len(lost)}" + "".join(f"\n               {why_lost(evidence, cast_id)}" for cast_id in lost),
    ]
    if left:
        lines.append(f"               {left} cancelled casts ended without GitHub")
    return "\n".join(lines)


def slowest(casts: list[dict[str, Any]], *, number: int = 3) -> list[dict[str, Any]]:
    """Return the casts that took longest."""
    return sorted((c for c in casts if c["finished"]), key=lambda c: c["created"] - c["finished"])[:number]


def timeline(evidence: Evidence, cast: dict[str, Any]) -> str:
    """Write down what a cast was waiting for, and at which second of its life that began."""
    events = evidence.timeline.get(cast["id"], [])
    return f"{cast['id']}: " + ", ".join(f"{at - cast['created']:.0f} {reason}" for at, _, reason in events)


def tried(casts: list[dict[str, Any]]) -> str:
    """Say how many casts took how many dispatches."""
    attempts = Counter(cast["dispatch_attempts"] for cast in casts)
    return ", ".join(f"{count} casts with {number}" for number, count in sorted(attempts.items()))


def why_lost(evidence: Evidence, cast_id: str) -> str:
    """Say what GitHub knows of a cast that was given up."""
    asked = [sent for sent in evidence.record["dispatches"] if sent["cast_id"] == cast_id]
    runs = evidence.runs.get(cast_id, [])
    return f"{cast_id}: {len(asked)} requests reached GitHub, {len(runs)} runs" + (", rightly" if not runs else "")


def raised(folder: Path) -> Counter[str]:
    """Count the exceptions in the logs of web and workers."""
    found: Counter[str] = Counter()
    for log in sorted(folder.glob("w*.log")):
        for name, text in RAISED.findall(log.read_text(errors="replace")):
            found[f"{name}: {re.sub('[0-9a-f-]{8,}|[0-9]+', '…', text)[:110]}"] += 1
    return found
