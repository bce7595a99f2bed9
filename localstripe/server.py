import argparse
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, TypeVar

from werkzeug.serving import BaseWSGIServer, WSGIRequestHandler, make_server

from .app import App
from .config import Config
from .state import Keeper
from .world import World

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

Around = TypeVar("Around", bound="WSGIApplication")
logger = logging.getLogger("localstripe")


class Handler(WSGIRequestHandler):
    """Keeps connections open and logs one short line a request."""

    protocol_version = "HTTP/1.1"
    timeout = 120  # seconds an idle connection is kept

    def version_string(self) -> str:
        return "localstripe"

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Log method, path and status; never the query or the body."""
        logger.info("%s %s %s", getattr(self, "command", "-"), getattr(self, "path", "-").split("?")[0], code)

    def log(self, type: str, message: str, *args: Any) -> None:
        logger.log(logging.ERROR if type == "error" else logging.DEBUG, message, *args)


class LocalStripe:
    """The server and the world behind it."""

    def __init__(self, config: Config) -> None:
        """Raise SystemExit if what an earlier process has left can't be read."""
        self.config = config
        self._app = App(World(config))
        self._keeper = Keeper(self.world, config.state_dir) if config.state_dir else None
        if self._keeper:
            self._keeper.load()
        self._server: BaseWSGIServer = make_server(
            config.host, config.port, self._app, threaded=True, request_handler=Handler
        )
        config.port = self._server.server_port  # port 0 asks for a free one, which is known only now

    @property
    def world(self) -> World:
        return self._app.world

    def wrap(self, around: "Callable[[WSGIApplication], Around]") -> Around:
        """Serve what `around` makes of the application, and return it."""
        self._server.app = wrapped = around(self._server.app)
        return wrapped

    def begin_anew(self) -> World:
        """Forget everything: a new world at the same address."""
        old, self._app.world = self.world, World(self.config)
        self.world.start()
        old.stop()
        return self.world

    def start(self) -> None:
        if self._keeper:
            self._keeper.start()
        self.world.start()
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True).start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self.world.stop()
        if self._keeper:
            self._keeper.stop()


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8082)
    parser.add_argument("--secret-key", default=os.environ.get("STRIPE_SECRET_KEY") or Config.secret_key)
    parser.add_argument("--webhook-url", default="", help="gets every event; none sends only to endpoints made later")
    parser.add_argument(
        "--webhook-secret",
        default=os.environ.get("STRIPE_WEBHOOK_SECRET", "").partition(",")[0].strip() or Config.webhook_secret,
        help="signs webhooks; STRIPE_WEBHOOK_SECRET from the environment without",
    )
    parser.add_argument("--state-dir", metavar="DIR", help="where all of it outlives the process; forgotten without")
    parser.add_argument("--currency", default="usd", help="what the account's balance is in")
    parser.add_argument("--search-lag", type=int, default=Config.search_lag, help="seconds until a search finds news")
    parser.add_argument(
        "--meter-lag", type=float, default=Config.meter_lag, help="seconds until a meter's sums have what it was told"
    )
    parser.add_argument(
        "--invoice-grace", type=int, default=Config.invoice_grace, help="seconds that a period's invoice is a draft"
    )


def serve(options: dict[str, Any]) -> None:
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    ended = threading.Event()

    def end(_number: int, _frame: FrameType | None) -> None:
        ended.set()

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    names = ("host", "port", "secret_key", "webhook_url", "webhook_secret", "currency")
    paces = ("search_lag", "meter_lag", "invoice_grace")
    folder = Path(options["state_dir"]) if options["state_dir"] else None
    stripe = LocalStripe(Config(**{name: options[name] for name in names + paces}, state_dir=folder))
    stripe.start()
    print(f"local Stripe at {stripe.config.base_url}", flush=True)
    ended.wait()
    stripe.stop()


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="localstripe", description="Stripe on your own machine")
    add_arguments(parser)
    serve(vars(parser.parse_args(arguments)))
