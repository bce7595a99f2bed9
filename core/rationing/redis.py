"""Counting in Redis, or what speaks its language, for whoever has one: each method is one script there."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from django.db import OperationalError

from core.rationing import MINUTE, Failed, Taken
from core.rationing.stores import BLOCK_PART, FIRST_DELAY

PREFIX = "spell-platform:"
TIMEOUT = 2.0  # seconds

TAKE = """
local minute, quota, part = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local row = redis.call('HMGET', KEYS[1], 'minute', 'used')
local known, used = tonumber(row[1] or 0), tonumber(row[2] or 0)
if known < minute then known, used = minute, 0 end
local left = math.max(quota - used, 0)
local granted = math.max(math.min(left, 1), math.floor(left / part))
redis.call('HSET', KEYS[1], 'minute', known, 'used', used + granted)
redis.call('EXPIRE', KEYS[1], ARGV[4])
return {known, granted, used + granted}
"""
FAIL = """
local now, free, longest, forgotten = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local least, blocks, first = tonumber(ARGV[5]), ARGV[6] == '1', tonumber(ARGV[7])
local row = redis.call('HMGET', KEYS[1], 'count', 'delay', 'last', 'blocked')
local count, delay = tonumber(row[1] or 0), tonumber(row[2] or 0)
local last, blocked = tonumber(row[3] or 0), tonumber(row[4] or 0)
if blocks and blocked > now then return {0, count, delay, blocked} end
if last < now - forgotten then count, delay = 0, 0 end
count = count + 1
if count >= free then delay = math.max(delay * 2, first) else delay = 0 end
delay = math.min(math.max(delay, least), longest)
redis.call('HSET', KEYS[1], 'count', count, 'delay', delay, 'last', now, 'blocked', now + delay)
redis.call('PEXPIRE', KEYS[1], forgotten + longest)
return {1, count, delay, now + delay}
"""
UNDO = """
local row = redis.call('HMGET', KEYS[1], 'count', 'delay')
if row[1] then
  local count, delay = math.max(tonumber(row[1]) - 1, 0), math.floor(tonumber(row[2]) / 2)
  redis.call('HSET', KEYS[1], 'count', count, 'delay', delay, 'blocked', 0)
end
return 0
"""
FORGET = "return redis.call('DEL', KEYS[1])"


class RedisStore:
    """See core.rationing.stores.Store. Raises OperationalError while Redis is away, as the database's does."""

    def __init__(self, url: str) -> None:
        self.url = url

    @cached_property
    def _client(self) -> Any:
        import redis  # an extra: only who names a RATION_URL needs it

        return redis.Redis.from_url(self.url, socket_timeout=TIMEOUT, socket_connect_timeout=TIMEOUT)

    @cached_property
    def _scripts(self) -> dict[str, Any]:
        return {text: self._client.register_script(text) for text in (TAKE, FAIL, UNDO, FORGET)}

    def _run(self, script: str, name: str, *values: float) -> list[int]:
        from redis.exceptions import RedisError

        try:
            answer: list[int] = self._scripts[script](keys=[PREFIX + name], args=values)
        except RedisError as exc:
            raise OperationalError(f"Redis, where rationing counts, can't be reached: {type(exc).__name__}") from exc
        return answer

    def take(self, name: str, minute: int, quota: int) -> Taken:
        """See Store."""
        return Taken(*self._run(TAKE, name, minute, quota, BLOCK_PART, 2 * MINUTE))

    def fail(
        self, name: str, now: float, *, free: int, longest: float, forgotten: float, least: float, blocks: bool
    ) -> Failed:
        """See Store."""
        times = [int(1000 * seconds) for seconds in (longest, forgotten, least)]
        counted, tries, delay, until = self._run(
            FAIL, name, int(1000 * now), free, *times, int(blocks), int(1000 * FIRST_DELAY)
        )
        return Failed(bool(counted), tries, delay / 1000, until / 1000)

    def undo(self, name: str) -> None:
        """See Store."""
        self._run(UNDO, name)

    def forget(self, name: str) -> None:
        """See Store."""
        self._run(FORGET, name)
