"""Streams to S3-compatible buckets: one object a batch (DEST-008). Owns `boto3`, the extra `s3`, imported late.

Nothing is tried again in here; the dispatcher does that, so that a bucket that is away costs one request now and
then. Every refusal counts as temporary: a right or a bucket that is missing can be given back, and no event is lost.
What is stored can be listed, read, replaced and deleted, for erasing personal data.
"""

import contextlib
import importlib.util
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from relay.errors import ConfigurationError, TemporaryError

CONNECT_SECONDS: Final = 10
READ_SECONDS: Final = 30
CONTENT_TYPE: Final = "application/x-ndjson"
PART_BYTES: Final = 1 << 16


@dataclass(frozen=True, slots=True)
class BucketSettings:
    """A bucket; `endpoint` "" is the hosted service of the region, keys "" come from the environment."""

    bucket: str
    region: str
    endpoint: str = ""
    access_key_id: str = ""
    secret_access_key: str = field(default="", repr=False)


class BucketStore:
    """Store in a bucket. `keep` may be called from any thread."""

    def __init__(self, settings: BucketSettings) -> None:
        """Raise ConfigurationError when the extra is not installed."""
        if importlib.util.find_spec("boto3") is None:
            raise ConfigurationError("Streams to buckets need boto3: install `relay-mta[s3]`.")
        self._settings = settings
        self._lock = threading.Lock()
        self._client: Any = None

    def keep(self, name: str, data: bytes) -> None:
        """Put an object, or another one in its place. Raise TemporaryError."""
        with self._asked() as client:
            client.put_object(Bucket=self._settings.bucket, Key=name, Body=data, ContentType=CONTENT_TYPE)

    def names(self, prefix: str) -> Iterator[tuple[str, int]]:
        """Yield objects below a prefix: name, and when it was written, in ms since 1970. Raise TemporaryError."""
        with self._asked() as client:
            pages = iter(
                client.get_paginator("list_objects_v2").paginate(Bucket=self._settings.bucket, Prefix=prefix)
            )
        while True:
            with self._asked():
                page = next(pages, None)
            if page is None:
                return
            for one in page.get("Contents", ()):
                yield one["Key"], int(one["LastModified"].timestamp() * 1000)

    def fetch(self, name: str, path: Path) -> None:
        """Write an object into a file. Raise TemporaryError, OSError."""
        with self._asked() as client, path.open("wb") as file:
            answer = client.get_object(Bucket=self._settings.bucket, Key=name)
            for part in answer["Body"].iter_chunks(PART_BYTES):
                file.write(part)

    def delete(self, name: str) -> None:
        """Delete an object, if it is there. Raise TemporaryError."""
        with self._asked() as client:
            client.delete_object(Bucket=self._settings.bucket, Key=name)

    @contextlib.contextmanager
    def _asked(self) -> Iterator[Any]:
        """Lend the client, and say what the other side refused."""
        import botocore.exceptions  # noqa: PLC0415 (see above)

        try:
            yield self._connected()
        except (botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError) as error:
            raise TemporaryError(f"bucket {self._settings.bucket}: {_reason(error)}") from error

    def _connected(self) -> Any:
        import boto3  # noqa: PLC0415 (see above)
        import botocore.config  # noqa: PLC0415

        with self._lock:
            if self._client is None:
                own = self._settings
                self._client = boto3.session.Session().client(
                    "s3",
                    region_name=own.region,
                    endpoint_url=own.endpoint or None,
                    aws_access_key_id=own.access_key_id or None,
                    aws_secret_access_key=own.secret_access_key or None,
                    config=botocore.config.Config(
                        connect_timeout=CONNECT_SECONDS,
                        read_timeout=READ_SECONDS,
                        retries={"total_max_attempts": 1},
                        s3={"addressing_style": "path"} if own.endpoint else {},
                    ),
                )
            return self._client


def _reason(error: Any) -> str:
    """Return the code of a refusal, or what kind of fault it was: never the text of an answer."""
    response = getattr(error, "response", None)
    if isinstance(response, dict):
        return str(response.get("Error", {}).get("Code", "refused"))[:80]
    return type(error).__name__
