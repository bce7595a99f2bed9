"""A receiver of callbacks, to look at: prints what arrives and answers 204. Run it with `python -m`."""

from __future__ import annotations

import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PORT = 8090
SHOWN = ("webhook-id", "webhook-timestamp", "webhook-signature")


class Handler(BaseHTTPRequestHandler):
    """Prints each POST."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        try:
            text = json.dumps(json.loads(body), indent=2, ensure_ascii=False)
        except ValueError:
            text = body.decode(errors="replace")
        heads = [f"{name}: {self.headers.get(name, '(missing)')}" for name in SHOWN]
        print("\n".join([f"POST {self.path}", *heads, text, ""]), flush=True)
        self.send_response(204)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing besides."""


def main() -> None:
    port = int(sys.argv[1]) if sys.argv[1:] else PORT
    try:
        server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    except OSError as exc:
        raise SystemExit(f"Port {port} can't be had: {exc.strerror}. Name another: … -m {__spec__.name} 8091") from exc
    print(f"Waiting for callbacks at http://127.0.0.1:{port}/ until Ctrl-C.", flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        print("Stopped.")


if __name__ == "__main__":
    main()
