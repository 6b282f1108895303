"""Pictures in a private bucket: Backblaze B2, Cloudflare R2, Amazon S3, or anything else that knows SigV4.

What is the same everywhere is fixed here; what an operator chooses comes from the settings. No access lists (B2 has
none), no checksums beyond what the protocol asks for (B2 and R2 refuse the newer ones), and the bucket's name in the
path, so that a link keeps its path when a CDN takes the host's place.
"""

import os
import threading
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import boto3.session
import botocore.session
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import ClientError
from django.conf import settings
from storages.backends.s3 import S3Storage

from generation.storage import Stored, Upload

# One request: three tries of 13 s at most, so `storage.put` gives up long before STALL_SECONDS end the lease.
ATTEMPTS_MAX = 3
CONNECT_SECONDS = 3
READ_SECONDS = 10
PART_BYTES = 16 * 2**20  # larger files go up in parts of this size; B2 takes no part below 5 MB
CACHE_SECONDS = 300
CONTENT_TYPES = {".png": "image/png", ".webp": "image/webp"}  # a slim system's own table knows no WebP


class PrivateBucket(S3Storage):
    """A bucket nobody can read but through links that this class signs, which live `SIGNED_URL_SECONDS` at most."""

    def __init__(self, *, cdn_domain: str = "", read_seconds: float = READ_SECONDS, **options: Any) -> None:
        self.cdn_domain = cdn_domain
        self._making, self._made = threading.Lock(), None
        super().__init__(
            **options,
            client_config=Config(
                signature_version="s3v4",  # the default against a foreign endpoint is still version 2
                s3={"addressing_style": "path"},
                retries={"mode": "standard", "total_max_attempts": ATTEMPTS_MAX},
                connect_timeout=CONNECT_SECONDS,
                read_timeout=read_seconds,
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
                tcp_keepalive=True,
            ),
            transfer_config=TransferConfig(
                multipart_threshold=PART_BYTES, multipart_chunksize=PART_BYTES, use_threads=False
            ),
            querystring_auth=True,
            querystring_expire=settings.SIGNED_URL_SECONDS,
            custom_domain=None,  # it would give links without a signature
            default_acl=None,
            file_overwrite=True,  # keys are nobody else's, and a HEAD before every PUT would only cost time
            session_profile=None,
            security_token=None,
        )

    def _create_session(self) -> boto3.session.Session:
        """A session that knows these keys and nothing of the AWS profile of whoever starts the process."""
        # Each: its name in a config file, in the environment, its default, and how it is read.
        nothing = (None, None, os.devnull, None)
        own = botocore.session.Session(
            session_vars={"profile": (None, None, None, None), "config_file": nothing, "credentials_file": nothing}
        )
        return boto3.session.Session(
            botocore_session=own, aws_access_key_id=self.access_key, aws_secret_access_key=self.secret_key
        )

    @property
    def connection(self) -> Any:
        """One for all threads: making it takes a third of a second, and what is asked of it is safe to share."""
        with self._making:
            if self._made is None:
                self._made = S3Storage.connection.fget(self)
            return self._made

    @property
    def client(self) -> Any:
        return self.connection.meta.client

    def url(
        self,
        name: str | None,
        parameters: dict[str, str] | None = None,
        expire: int | None = None,
        http_method: str | None = None,
    ) -> str:
        """A signed link, never longer-lived than `SIGNED_URL_SECONDS`; on the CDN's host when there is one.

        The signature covers the host of the endpoint, so the CDN must ask its origin under that name, and pass the
        query on unchanged.
        """
        seconds = min(expire or settings.SIGNED_URL_SECONDS, settings.SIGNED_URL_SECONDS)
        signed: str = super().url(name, parameters, seconds, http_method)
        if not self.cdn_domain:
            return signed
        return urlunsplit(urlsplit(signed)._replace(scheme="https", netloc=self.cdn_domain))

    def get_object_parameters(self, name: str) -> dict[str, str]:
        parameters: dict[str, str] = {
            **super().get_object_parameters(name),
            "CacheControl": f"private, max-age={CACHE_SECONDS}",
        }
        if content_type := CONTENT_TYPES.get(PurePosixPath(name).suffix):
            parameters["ContentType"] = content_type
        return parameters

    def listing(self, folder: str) -> Iterator[Stored]:
        """Every file below a folder with its time: one request for a thousand files."""
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket_name, Prefix=f"{folder}/")
        for page in pages:
            for found in page.get("Contents", ()):
                yield Stored(found["Key"], found["LastModified"])

    def unfinished_uploads(self, folder: str) -> Iterator[Upload]:
        """Uploads in parts that a dead worker left behind. They cost money and show in no listing."""
        pages = self.client.get_paginator("list_multipart_uploads").paginate(
            Bucket=self.bucket_name, Prefix=f"{folder}/"
        )
        for page in pages:
            for found in page.get("Uploads", ()):
                yield Upload(found["Key"], found["UploadId"], found["Initiated"])

    def abort(self, upload: Upload) -> None:
        self.client.abort_multipart_upload(Bucket=self.bucket_name, Key=upload.key, UploadId=upload.id)

    def is_versioned(self) -> bool:
        """Whether deleting a file only hides it, as in every bucket of B2. R2 has no versions, nor the question.

        Raises ClientError: the store does not say, to these keys.
        """
        try:
            return bool(self.client.get_bucket_versioning(Bucket=self.bucket_name).get("Status"))
        except ClientError as error:
            if error.response["ResponseMetadata"]["HTTPStatusCode"] != HTTPStatus.NOT_IMPLEMENTED:
                raise
            return False

    def lifecycle_rules(self) -> list[dict[str, Any]]:
        try:
            return list(self.client.get_bucket_lifecycle_configuration(Bucket=self.bucket_name)["Rules"])
        except ClientError as error:
            if error.response["Error"]["Code"] == "NoSuchLifecycleConfiguration":
                return []
            raise

    def replace_lifecycle_rules(self, rules: list[dict[str, Any]]) -> None:
        self.client.put_bucket_lifecycle_configuration(Bucket=self.bucket_name, LifecycleConfiguration={"Rules": rules})

    def make_bucket(self) -> bool:
        """Make the bucket when it is not there; whether it was made. A new bucket is private everywhere."""
        try:
            self.client.head_bucket(Bucket=self.bucket_name)
        except ClientError as error:
            if error.response["ResponseMetadata"]["HTTPStatusCode"] != 404:
                raise
            place = {"LocationConstraint": self.region_name}
            # Amazon's first region is the one that must not be named.
            configuration = {} if self.region_name == "us-east-1" else {"CreateBucketConfiguration": place}
            self.client.create_bucket(Bucket=self.bucket_name, **configuration)
            return True
        return False
