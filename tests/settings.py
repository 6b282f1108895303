"""The product's settings with a fast hasher, pictures in a folder of the test run, and a cache of its own.

Everything else, PostgreSQL and Valkey included, is what `make run` uses; `tests/servers.py` has started them.
"""

import os
import tempfile
from pathlib import Path

from tenkaigen.settings import *  # noqa: F403
from tenkaigen.settings import DATABASES, REDIS_OPTIONS, STORAGES

# A folder for each xdist process: their databases count people from 1 alike, and a person's number is part of a key.
TEST_DIR = Path(os.environ.get("TENKAIGEN_TEST_DIR") or tempfile.gettempdir()) / os.environ.get(
    "PYTEST_XDIST_WORKER", "alone"
)

PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
# allauth counts attempts in the cache: with one cache for all, tests would run into each other's limits.
LOCAL = "django.core.cache.backends.locmem.LocMemCache"
# A page does without Redis after a second; in a test that would look at something else.
REDIS_OPTIONS_OF_PAGES = REDIS_OPTIONS
CACHES = {"default": {"BACKEND": LOCAL}, "sessions": {"BACKEND": LOCAL, "LOCATION": "sessions"}}
STORAGES = STORAGES | {
    "default": {
        "BACKEND": "generation.storage.SignedFileSystemStorage",
        "OPTIONS": {"location": str(TEST_DIR / "images")},
    }
}

# Tables are emptied after a test that commits; the ledger's refuse that to everybody else. And most tests are one
# transaction, which rests for as long as a busy machine lets it.
DATABASES["default"]["OPTIONS"]["options"] += (
    " -c tenkaigen.may_truncate=on -c idle_in_transaction_session_timeout=10min -c statement_timeout=10min"
)

ADAPTER_DIR = TEST_DIR / "adapters"
TRAINING_DIR = TEST_DIR / "trainings"
RATE_LIMITS = False  # tests submit faster than people; those of the limits turn it on
WARM_UP = False  # a test counts the pictures that a device draws
