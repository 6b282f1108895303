"""The test settings with pictures in a bucket: the one behind the shim that the rig has started."""

import os

from tests.settings import *  # noqa: F403
from tests.settings import DATABASES, STORAGES

# What production has, unlike the other tests: here PostgreSQL ends who holds a row and does not go on.
DATABASES["default"]["OPTIONS"]["options"] += " -c idle_in_transaction_session_timeout=10s -c statement_timeout=30s"

STORAGES = STORAGES | {
    "default": {
        "BACKEND": "generation.s3.PrivateBucket",
        "OPTIONS": {
            "endpoint_url": os.environ["MATRIX_S3_URL"],
            "region_name": "us-west-004",
            "bucket_name": "pictures",
            "access_key": "a-key-id",
            "secret_key": "a-secret-key",
            "read_seconds": 3,  # what a stalled request costs; shorter, and a busy machine would stall all of them
        },
    }
}
ORPHAN_AGE_HOURS = 0
ALLOWED_HOSTS = ["testserver"]
LOGGING_CONFIG = None  # thousands of processes that die on purpose have nothing to say
