"""The cache on Redis, for which a dead Redis is a miss: sessions and throttles go on without it.

The limits of sign-in do not fall with it: each process counts for itself until Redis is back.
"""

import time
from collections.abc import Callable
from typing import Any

import redis
import structlog
from django.core.cache.backends.base import DEFAULT_TIMEOUT, BaseCache
from django.core.cache.backends.dummy import DummyCache
from django.core.cache.backends.locmem import LocMemCache
from django.core.cache.backends.redis import RedisCache, RedisCacheClient

logger = structlog.get_logger(__name__)
# After a failure Redis is left alone for this long, so that a dead one does not cost a time-out per call.
BREAK_SECONDS = 2.0
LIMITS = "allauth:rl:"  # what allauth's counts and their locks have in their keys
MEMORY = LocMemCache("limits without Redis", {"OPTIONS": {"MAX_ENTRIES": 20_000}})
NOTHING = DummyCache("", {})


class ForgivingClient(RedisCacheClient):
    """Django's client; what it cannot ask it has never heard of, what it cannot write it forgets."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._broken_until = 0.0

    def add(self, key: Any, value: Any, timeout: Any) -> bool:
        return bool(
            self._try(
                lambda: super(ForgivingClient, self).add(key, value, timeout),
                lambda: _meanwhile(key).add(key, value, timeout),
            )
        )

    def get(self, key: Any, default: Any) -> Any:
        return self._try(
            lambda: super(ForgivingClient, self).get(key, default), lambda: _meanwhile(key).get(key, default)
        )

    def set(self, key: Any, value: Any, timeout: Any) -> None:
        self._try(
            lambda: super(ForgivingClient, self).set(key, value, timeout),
            lambda: _meanwhile(key).set(key, value, timeout),
        )

    def touch(self, key: Any, timeout: Any) -> bool:
        return bool(
            self._try(
                lambda: super(ForgivingClient, self).touch(key, timeout), lambda: _meanwhile(key).touch(key, timeout)
            )
        )

    def delete(self, key: Any) -> bool:
        return bool(self._try(lambda: super(ForgivingClient, self).delete(key), lambda: _meanwhile(key).delete(key)))

    def get_many(self, keys: Any) -> dict[Any, Any]:
        return dict(self._try(lambda: super(ForgivingClient, self).get_many(keys), dict))

    def has_key(self, key: Any) -> bool:
        return bool(self._try(lambda: super(ForgivingClient, self).has_key(key), lambda: _meanwhile(key).has_key(key)))

    def incr(self, key: Any, delta: int) -> int:
        return int(self._try(lambda: super(ForgivingClient, self).incr(key, delta), lambda: delta))

    def set_many(self, data: Any, timeout: Any) -> None:
        self._try(lambda: super(ForgivingClient, self).set_many(data, timeout), lambda: None)

    def delete_many(self, keys: Any) -> None:
        self._try(lambda: super(ForgivingClient, self).delete_many(keys), lambda: None)

    def _try(self, call: Callable[[], Any], otherwise: Callable[[], Any]) -> Any:
        if time.monotonic() < self._broken_until:
            return otherwise()
        try:
            return call()
        except redis.RedisError as error:
            self._broken_until = time.monotonic() + BREAK_SECONDS
            logger.warning("cache_is_away", error=type(error).__name__)
            return otherwise()


def _meanwhile(key: object) -> BaseCache:
    """What stands in for a Redis that is away."""
    return MEMORY if LIMITS in str(key) else NOTHING


class ForgivingRedisCache(RedisCache):
    """Name this as the cache's BACKEND."""

    def __init__(self, server: str, params: dict[str, Any]) -> None:
        super().__init__(server, params)
        self._class = ForgivingClient


class SessionCache(ForgivingRedisCache):
    """Keeps nothing longer than `SECONDS_MAX`: a sign-out while Redis is away ends the session everywhere by then."""

    SECONDS_MAX = 300

    def get_backend_timeout(self, timeout: Any = DEFAULT_TIMEOUT) -> int | None:
        seconds = super().get_backend_timeout(timeout)
        return self.SECONDS_MAX if seconds is None else min(int(seconds), self.SECONDS_MAX)
