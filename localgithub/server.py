import argparse
import logging
import os
import signal
import sys
import tempfile
import threading
from pathlib import Path
from types import FrameType
from typing import Any

from werkzeug.serving import BaseWSGIServer, WSGIRequestHandler, make_server

from .app import Api
from .config import API_VERSIONS, Config
from .manifest import LEVELS
from .namefile import read_names
from .world import World

logger = logging.getLogger("localgithub")


class Handler(WSGIRequestHandler):
    """Keeps connections open and logs one short line a request."""

    protocol_version = "HTTP/1.1"
    timeout = 120  # seconds an idle connection is kept

    def version_string(self) -> str:
        return "github.com"

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Log method, path and status; never the query, which may hold a signature."""
        logger.info("%s %s %s", getattr(self, "command", "-"), getattr(self, "path", "-").split("?")[0], code)

    def log(self, type: str, message: str, *args: Any) -> None:
        logger.log(logging.ERROR if type == "error" else logging.DEBUG, message, *args)


class LocalGitHub:
    """The two servers and the world behind them."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.world = World(config)
        self._api = _server(config.host, config.port, Api(self.world))
        self._blobs = _server(config.host, config.blob_port, self.world.blobs)
        # Port 0 asks for a free one, which is known only now.
        config.port, config.blob_port = self._api.server_port, self._blobs.server_port

    def start(self) -> None:
        self.world.start()
        for server in (self._api, self._blobs):
            threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True).start()

    def stop(self) -> None:
        for server in (self._api, self._blobs):
            server.shutdown()
            server.server_close()
        self.world.stop()


def _server(host: str, port: int, application: Any) -> BaseWSGIServer:
    return make_server(host, port, application, threaded=True, request_handler=Handler)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line, which manage.py and `python -m` share."""
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8081)
    parser.add_argument("--blob-port", type=int, default=0, help="where artifacts and logs are; 0 takes a free port")
    parser.add_argument(
        "--repository",
        action="append",
        required=True,
        metavar="OWNER/NAME=PATH",
        help="a working tree whose .github/workflows really run; may be repeated",
    )
    parser.add_argument("--app-id", type=int, default=1)
    parser.add_argument("--app-public-key", metavar="PEMFILE", help="checks the App's JWTs; none refuses all of them")
    parser.add_argument("--installation-id", type=int, default=1)
    parser.add_argument(
        "--permission",
        action="append",
        default=[],
        metavar="NAME=LEVEL",
        help="what the installation may do, such as checks=read or contents=none; may be repeated",
    )
    parser.add_argument(
        "--environment",
        action="append",
        default=[],
        metavar="OWNER/NAME=ONE,TWO",
        help="the deployment environments of a repository; may be repeated",
    )
    parser.add_argument(
        "--person", default="local-person", help="the login of who sits at the browser and owns the personal token"
    )
    parser.add_argument(
        "--watch-pushes", action="store_true", help="send a push webhook when the head of a branch has changed"
    )
    parser.add_argument("--webhook-url", default="", help="none sends no webhooks at all")
    parser.add_argument(
        "--webhook-secret",
        # Not on the command line: every user of the machine may read those.
        default=os.environ.get("GITHUB_WEBHOOK_SECRET", "").partition(",")[0].strip(),
        help="signs webhooks; GITHUB_WEBHOOK_SECRET from the environment without",
    )
    parser.add_argument("--state-dir", metavar="DIR", help="runs and artifacts; a temporary directory without")
    parser.add_argument("--api", choices=sorted(API_VERSIONS), default="github.com")
    parser.add_argument("--personal-token", default="", help="accept this one too, as a fine-grained personal token")
    parser.add_argument(
        "--secrets", metavar="FILE", help="NAME=value lines that runs find as secrets.NAME; shown in no log"
    )
    parser.add_argument("--vars", metavar="FILE", help="NAME=value lines that runs find as vars.NAME")
    parser.add_argument("--concurrency", type=int, default=4, help="runs at a time")
    parser.add_argument("--minute", type=float, default=60.0, help="seconds that a minute of timeout-minutes lasts")
    parser.add_argument("--rate-limit", type=int, default=15_000, help="requests an hour, told but not enforced")


def read_config(options: dict[str, Any], state_dir: Path) -> Config:
    """Return the Config of parsed arguments. Raise SystemExit if one is wrong."""
    repositories = {}
    for given in options["repository"]:
        name, _, path = given.partition("=")
        if name.count("/") != 1 or not path or not Path(path).is_dir():
            raise SystemExit(f"--repository needs OWNER/NAME=PATH of a directory, not {given!r}")
        repositories[name] = Path(path).resolve()
    key_file = options["app_public_key"]
    config = Config(
        repositories=repositories,
        state_dir=state_dir.resolve(),
        host=options["host"],
        port=options["port"],
        blob_port=options["blob_port"],
        app_id=options["app_id"],
        app_public_key=Path(key_file).read_text(encoding="ascii") if key_file else "",
        installation_id=options["installation_id"],
        webhook_url=options["webhook_url"],
        webhook_secret=options["webhook_secret"],
        api=options["api"],
        personal_token=options["personal_token"],
        concurrency=options["concurrency"],
        minute=options["minute"],
        secrets=read_names(Path(options["secrets"])) if options["secrets"] else {},
        variables=read_names(Path(options["vars"])) if options["vars"] else {},
        rate_limit=options["rate_limit"],
        person=options["person"],
        watch_pushes=options["watch_pushes"],
        environments=_environments(options["environment"], repositories),
    )
    config.permissions = _permissions(options["permission"], config.permissions)
    return config


def _permissions(given: list[str], usual: dict[str, str]) -> dict[str, str]:
    found = dict(usual)
    for one in given:
        name, _, level = one.partition("=")
        if level != "none" and level not in LEVELS.get(name, ()):
            raise SystemExit(f"--permission needs NAME=LEVEL that GitHub knows, such as checks=read, not {one!r}")
        found[name] = level
    return {name: level for name, level in found.items() if level != "none"}


def _environments(given: list[str], repositories: dict[str, Path]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for one in given:
        name, _, listed = one.partition("=")
        full_name = next((known for known in repositories if known.lower() == name.lower()), None)
        names = [part.strip() for part in listed.split(",") if part.strip()]
        if full_name is None or not names:
            raise SystemExit(f"--environment needs OWNER/NAME=ONE,TWO of a --repository, not {one!r}")
        found[full_name] = list(dict.fromkeys([*found.get(full_name, []), *names]))
    return found


def serve(options: dict[str, Any]) -> None:
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    os.umask(0o077)  # what runs leave, their logs and our tokens are this user's alone
    ended = threading.Event()

    def end(_number: int, _frame: FrameType | None) -> None:
        ended.set()

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    with tempfile.TemporaryDirectory(prefix="localgithub-") as temporary:
        config = read_config(options, Path(options["state_dir"] or temporary))
        github = LocalGitHub(config)
        github.start()
        names = ", ".join(config.repositories)
        print(f"local GitHub at {config.base_url} (blobs at {config.blob_url}), serving {names}", flush=True)
        if github.world.runner.act is None:
            logger.warning("act is not installed: every run will end as startup_failure")
        ended.wait()
        github.stop()


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="localgithub", description="GitHub on your own machine")
    add_arguments(parser)
    serve(vars(parser.parse_args(arguments)))
