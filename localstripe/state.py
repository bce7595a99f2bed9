"""What outlives the process, with --state-dir: a file that is replaced whole, readable by its user alone."""

import json
import logging
import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .world import World

logger = logging.getLogger(__name__)
EVERY = 2.0  # seconds; whoever is killed loses at most that much


class Keeper:
    def __init__(self, world: "World", folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.world, self.file = world, folder / "stripe.json"
        self._ended = threading.Event()
        self._written = -1
        self._thread = threading.Thread(target=self._run, daemon=True, name="localstripe-keeper")

    def load(self) -> None:
        """Take up where an earlier process ended. Raise SystemExit if its file can't be read."""
        if not self.file.exists():
            return
        try:
            self.world.load(json.loads(self.file.read_text()))
        except (ValueError, KeyError, TypeError) as exc:
            raise SystemExit(f"{self.file} is not what a local Stripe has written ({exc}): delete it.") from exc

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._ended.set()
        self._thread.join()
        self.write()

    def _run(self) -> None:
        while not self._ended.wait(EVERY):
            self.write()

    def write(self) -> None:
        """Write what there is, unless nothing has happened since."""
        with self.world.lock:
            if self.world.happened == self._written:
                return
            self._written, text = self.world.happened, json.dumps(self.world.dump())
        new = self.file.with_suffix(".new")
        with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as out:
            out.write(text)
        new.replace(self.file)
