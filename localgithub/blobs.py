import hashlib
import hmac
import io
import secrets
import time
import zipfile
from collections.abc import Callable, Iterable
from urllib.parse import quote

from werkzeug.wrappers import Request, Response
from werkzeug.wsgi import wrap_file

from . import guards
from .config import Config
from .runs import Artifact, Attempt, Job, Runs

LIFE = 60  # seconds a link works


class Blobs:
    """The other host, where logs and artifacts are stored: signed links, no Authorization."""

    def __init__(self, config: Config, runs: Runs) -> None:
        self.config, self.runs = config, runs
        self._key = secrets.token_bytes(32)
        self._readers: dict[str, Callable[[Request], Response]] = {}

    def link(self, path: str, reader: Callable[[Request], Response]) -> str:
        """Return an address under which `reader` answers for one minute."""
        self._readers[path] = reader
        until = int(time.time()) + LIFE
        return f"{self.config.blob_url}{quote(path)}?se={until}&sig={self._sign(path, until)}"

    def artifact(self, artifact: Artifact) -> str:
        def read(request: Request) -> Response:
            kind = "application/zip" if artifact.zipped else "application/octet-stream"
            name = quote(f"{artifact.name}.zip" if artifact.zipped else artifact.name)
            answer = Response(
                wrap_file(request.environ, artifact.file.open("rb")),
                content_type=kind,
                direct_passthrough=True,
                headers={"Content-Disposition": f"attachment; filename=\"{name}\"; filename*=UTF-8''{name}"},
            )
            answer.content_length = artifact.size
            return answer

        return self.link(f"/artifacts/{artifact.id}", read)

    def job_log(self, job: Job) -> str:
        return self.link(
            f"/logs/job-{job.id}.txt", lambda _: Response(log_text(job), content_type="text/plain; charset=utf-8")
        )

    def run_log(self, run_id: int, attempt: Attempt) -> str:
        def read(_: Request) -> Response:
            packed = io.BytesIO()
            with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
                for number, job in enumerate(attempt.jobs):
                    archive.writestr(f"{number}_{job.name.replace('/', '_')}.txt", log_text(job))
            return Response(packed.getvalue(), content_type="application/zip")

        return self.link(f"/logs/run-{run_id}-{attempt.number}.zip", read)

    def _sign(self, path: str, until: int) -> str:
        return hmac.new(self._key, f"{path}\n{until}".encode(), hashlib.sha256).hexdigest()

    def __call__(self, environ: dict[str, object], start_response: Callable[..., object]) -> Iterable[bytes]:
        return self._answer(Request(environ))(environ, start_response)  # type: ignore[arg-type]

    def _answer(self, request: Request) -> Response:
        if (refused := guards.refusal(request, host=self.config.host)) is not None:
            return _refuse(refused[0], "Refused", refused[1])
        if "Authorization" in request.headers:
            # What Azure says to a client that sends GitHub's token along.
            return _refuse(
                400, "InvalidAuthenticationInfo", "Authentication information is not given in the correct format."
            )
        until = request.args.get("se", "")
        good = until.isdigit() and hmac.compare_digest(
            self._sign(request.path, int(until)), request.args.get("sig", "")
        )
        if not good or int(until) < time.time():
            return _refuse(
                403,
                "AuthenticationFailed",
                "Server failed to authenticate the request. Signature not valid in the specified time frame.",
            )
        if request.method not in ("GET", "HEAD"):
            return _refuse(405, "UnsupportedHttpVerb", "The resource doesn't support specified Http Verb.")
        return self._readers[request.path](request)


def log_text(job: Job) -> str:
    """Return a job's log as a file, which on GitHub begins with a byte order mark."""
    return "\ufeff" + "".join(f"{line}\n" for line in job.log)


def _refuse(status: int, code: str, message: str) -> Response:
    body = f'<?xml version="1.0" encoding="utf-8"?><Error><Code>{code}</Code><Message>{message}</Message></Error>'
    return Response(body, status, content_type="application/xml", headers={"x-ms-error-code": code})
