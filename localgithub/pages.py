"""The one page for people: a run with its steps and logs, to which html_url points."""

from html import escape

from werkzeug.wrappers import Request, Response

from .runs import Job, Run
from .world import World

_SIGNS = {"success": "✓", "failure": "✗", "cancelled": "⊘", "skipped": "-", None: "…"}

_STYLE = "body{font:16px system-ui;margin:2rem;max-width:60rem}pre{background:#f4f4f4;padding:1rem;overflow:auto}"


def run_page(world: World, request: Request, owner: str, repo: str, run_id: int, job_id: int = 0) -> Response:
    run = world.run(world.repository(owner, repo), run_id)
    with world.runs.lock:
        text = _page(run)
    # Names and logs come from the run: nothing in them may run or load anything.
    headers = {"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'"}
    return Response(text, content_type="text/html; charset=utf-8", headers=headers)


def _page(run: Run) -> str:
    attempt = run.attempt
    again = "" if attempt.status == "completed" else '<meta http-equiv="refresh" content="1">'
    kept = "".join(f"<li>{escape(a.name)} ({a.size} bytes)</li>" for a in run.artifacts.values())
    return (
        f"<!doctype html><html lang=en><meta charset=utf-8>{again}<title>{escape(run.title)}</title>"
        f"<style>{_STYLE}</style>"
        f"<h1>{escape(run.title)}</h1><p>{escape(run.workflow.name)} #{run.number}, attempt {attempt.number}: "
        f"<strong>{escape(attempt.conclusion or attempt.status)}</strong></p>"
        + (f"<p>{escape(attempt.problem)}</p>" if attempt.problem else "")
        + "".join(_job(job) for job in attempt.jobs)
        + (f"<h2>Artifacts</h2><ul>{kept}</ul>" if kept else "")
        + "</html>"
    )


def _job(job: Job) -> str:
    steps = "".join(f"<li>{_SIGNS.get(step.conclusion, '?')} {escape(step.name)}</li>" for step in job.steps)
    log = escape("\n".join(line.split(" ", 1)[1] for line in job.log))
    return f"<h2>{escape(job.name)}</h2><ol>{steps}</ol><pre>{log}</pre>"


RULES = [
    ("GET", "/<owner>/<repo>/actions/runs/<int:run_id>", run_page),
    ("GET", "/<owner>/<repo>/actions/runs/<int:run_id>/job/<int:job_id>", run_page),
]
