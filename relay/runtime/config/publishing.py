"""Settings of where events of configuration sets go: streams, buses, and what waits for them."""

from collections.abc import Iterator
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, SecretStr

from relay.policy.weburl import parse_web_url
from relay.runtime.config.section import REQUIRED, Section, setting
from relay.runtime.config.values import (
    Duration,
    FilePath,
    Flag,
    Kind,
    RelativePath,
    Size,
    Text,
    parse_smarthost,
    shown,
)

KAFKA_PORT = 9092
WEB_PORTS = (80, 443)
LOW_PORT_MAX = 1023

TargetName = Annotated[str, Field(strict=True, pattern=r"^[A-Za-z0-9_-]{1,64}$"), Kind("name")]


def parse_url(value: Any) -> str:
    """Return the URL of a webhook or of an S3-compatible service."""
    url = parse_web_url(value)
    parts = urlsplit(url)
    if parts.port is not None and parts.port <= LOW_PORT_MAX and parts.port not in WEB_PORTS:
        raise ValueError(f"must use port 80, 443 or one above {LOW_PORT_MAX}, not {parts.port}")
    if "#" in url:
        raise ValueError("must not have a fragment (#)")
    return url


def parse_prefix(value: Any) -> str:
    """Return the beginning of file names in a stream: a relative path of harmless characters."""
    text = value if isinstance(value, str) else ""
    names = [name for name in text.split("/") if name]
    fits = all(name.isascii() and name.replace("-", "").replace("_", "").replace(".", "").replace("=", "").isalnum()
               for name in names)  # fmt: skip
    if value != text or len(text) > 512 or text.startswith("/") or ".." in names or not fits:  # noqa: PLR2004
        raise ValueError(
            f"must be a relative path of letters, digits and -_.=, such as mail/events/, not {shown(value)}"
        )
    return text


def parse_broker(value: Any) -> str:
    """Return host:port; the port defaults to Kafka's."""
    return str(parse_smarthost(value, default_port=KAFKA_PORT))


WebUrl = Annotated[str, BeforeValidator(parse_url), Kind("URL")]
Prefix = Annotated[str, BeforeValidator(parse_prefix), Kind("path")]
Broker = Annotated[str, BeforeValidator(parse_broker), Kind("host:port")]


class Stream(Section):
    """A stream that event destinations may name: each event as one line of JSON, in batches."""

    name: TargetName = setting(REQUIRED, "Its name, the last part of its ARN.")
    type: Literal["directory", "bucket", "kafka"] = setting(
        "directory",
        "`directory`: files on this machine. `bucket`: objects in an S3-compatible bucket (needs the extra `s3`). "
        "`kafka`: records of a Kafka topic (needs the extra `kafka`).",
    )
    directory: RelativePath | None = setting(
        None,
        "Where the files are, below `YYYY/MM/DD/HH/` of the time (UTC); a relative path starts from `data_dir`.",
        shown="streams/ and the name",
    )
    bucket: Text = setting("", "The bucket.")
    endpoint: WebUrl | None = setting(
        None, "The service that has the bucket; without one, the hosted one of its region.", shown="none"
    )
    region: Text = setting("us-east-1", "The region of the bucket.")
    access_key_id: Text = setting("", "The access key; without one, what the environment of the relay offers.")
    secret_access_key: SecretStr = setting(SecretStr(""), "Its secret; a file keeps it out of this one.")
    secret_access_key_file: FilePath | None = setting(None, "A file with the secret in its first line, mode 0600.")
    brokers: tuple[Broker, ...] = setting((), "Kafka brokers to begin with.", max_length=20)
    topic: Text = setting("", "The Kafka topic.")
    prefix: Prefix = setting("", "What stands before the date in the names of files and objects.")
    gzip: Flag = setting(False, "Whether files and objects are compressed; their names then end in `.gz`.")
    encryption_key_file: FilePath | None = setting(
        None,
        "A file with a key (32 octets in base64, mode 0600) that files and objects are encrypted with, AES-256-GCM, "
        "before they are written; their names then end in `.enc`. `relay events decrypt` reads them.",
    )
    batch_size: Size = setting("5MB", "Bytes of records that fill a file before its time.", ge=1024, le=64 << 20)
    batch_age: Duration = setting(
        "60s", "How long the first record of a file waits for others; a crash then delays it, and loses none.",
        ge=0.1, le=3600.0,
    )  # fmt: skip


class Bus(Section):
    """An event bus that event destinations may name: each event in an envelope, posted to a webhook."""

    name: TargetName = setting(REQUIRED, "Its name, the last part of its ARN. API clients can name `default` only.")
    url: WebUrl = setting(REQUIRED, "Where events are posted.")
    secret: SecretStr = setting(
        SecretStr(""),
        "Signs each post: `X-Relay-Signature: t=SECONDS,v1=HEX`, the HMAC-SHA256 of the time, a dot and the body. A "
        "file keeps it out of this one.",
    )
    secret_file: FilePath | None = setting(None, "A file with the secret in its first line, mode 0600.")
    allow_private: Flag = setting(
        False, "Whether the host may have a private or loopback address, and `http` without TLS be used."
    )
    ca_file: FilePath | None = setting(None, "Certificates that are trusted beside those of the system.")
    timeout: Duration = setting("15s", "How long one try may take.", ge=0.1, le=60.0)
    parallel: Annotated[int, Field(strict=True), Kind("number")] = setting(
        8, "Posts on their way at a time.", ge=1, le=256
    )


class EventQueue(Section):
    """What waits for streams, buses and subscriptions; each loss at a bound is counted and logged."""

    size_max: Size = setting(
        "4GB",
        "Size of what waits on disk. At this bound dead letters go first, oldest first, then the oldest of what "
        "waits for the destination with most.",
        ge=1 << 20,
    )
    age_max: Duration = setting(
        "14d", "How long anything waits before it is dropped, dead letters included.", ge=60.0, le=366 * 86400.0
    )


class EventMetrics(Section):
    """Metrics destinations of configuration sets."""

    series_max: Annotated[int, Field(strict=True), Kind("number")] = setting(
        1000, "Series of one destination; events that would begin another are left out and counted.", ge=1, le=100_000
    )


def stream_faults(stream: Stream) -> Iterator[tuple[str, str]]:
    """Yield what contradicts itself in a stream, by key."""
    foreign = {
        "directory": ("bucket", "endpoint", "access_key_id", "brokers", "topic"),
        "bucket": ("directory", "brokers", "topic"),
        "kafka": ("directory", "bucket", "endpoint", "access_key_id", "prefix", "gzip", "encryption_key_file"),
    }[stream.type]
    for key in foreign:
        if getattr(stream, key):
            yield key, f"belongs to another type of stream, not to `{stream.type}`"
    for key in {"bucket": ("bucket",), "kafka": ("brokers", "topic")}.get(stream.type, ()):
        if not getattr(stream, key):
            yield key, f"is needed for a stream of type `{stream.type}`"
    secret = bool(stream.secret_access_key.get_secret_value())
    if secret and stream.secret_access_key_file:
        yield "secret_access_key_file", "is given beside `secret_access_key`; keep one of them"
    if (secret or stream.secret_access_key_file is not None) != bool(stream.access_key_id):
        yield "access_key_id", "and its secret are given together or not at all"


def bus_faults(bus: Bus) -> Iterator[tuple[str, str]]:
    """Yield what contradicts itself in a bus, by key."""
    if bus.url.startswith("http:") and not bus.allow_private:
        yield "url", "must begin with https://; http:// is for private targets, with `allow_private: true`"
    if bus.secret.get_secret_value() and bus.secret_file:
        yield "secret_file", "is given beside `secret`; keep one of them"
