from django.conf import settings
from django.core.cache.backends.base import DEFAULT_TIMEOUT

from tenkaigen.cache import SessionCache


def test_a_session_is_cached_for_minutes_so_that_a_sign_out_without_redis_ends_it():
    cache = SessionCache(settings.REDIS_URL, {"KEY_PREFIX": "test-sessions"})
    for asked in (14 * 24 * 3600, None, DEFAULT_TIMEOUT):
        cache.set("key", "value", asked)
        seconds = cache._cache.get_client().ttl(cache.make_and_validate_key("key"))
        assert 0 < seconds <= SessionCache.SECONDS_MAX
    cache.set("key", "value", 5)
    assert 0 < cache._cache.get_client().ttl(cache.make_and_validate_key("key")) <= 5
