"""What stands before the web processes: takes turns between them, and passes over one that is dead."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import threading
from collections.abc import Sequence

CHUNK = 64 * 1024


class Proxy:
    """Passes TCP connections on, each to the next backend that takes it; knows no HTTP."""

    def __init__(self, port: int, backends: Sequence[int], host: str = "127.0.0.1") -> None:
        self.port, self.backends, self.host = port, backends, host
        self._turn = itertools.count()
        self._loop = asyncio.new_event_loop()
        self._open: set[asyncio.Task[None]] = set()
        self._thread = threading.Thread(target=self._run, name="proxy", daemon=True)

    def start(self) -> None:
        """Listen."""
        server = asyncio.start_server(self._serve, "127.0.0.1", self.port, backlog=1000)
        self._server = self._loop.run_until_complete(server)
        self._thread.start()

    def stop(self) -> None:
        """Close everything."""
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()

    async def _close(self) -> None:
        self._server.close()
        for task in list(self._open):
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        writers = [writer]
        try:
            if (backend := await self._backend()) is not None:
                writers.append(backend[1])
                ways = [asyncio.create_task(_pump(reader, backend[1])), asyncio.create_task(_pump(backend[0], writer))]
                try:
                    await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    for way in ways:
                        way.cancel()
                    await asyncio.gather(*ways, return_exceptions=True)
        except asyncio.CancelledError:  # we stop; the stream server would log it
            pass
        finally:
            for one in writers:
                one.close()
                with contextlib.suppress(OSError, asyncio.CancelledError):
                    await one.wait_closed()
            self._open.discard(task)

    async def _backend(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        first = next(self._turn)
        for number in range(len(self.backends)):
            port = self.backends[(first + number) % len(self.backends)]
            with contextlib.suppress(OSError):
                return await asyncio.open_connection(self.host, port)
        return None


async def _pump(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await source.read(CHUNK):
            target.write(data)
            await target.drain()
