"""The bucket that a stream stores in, as it is configured."""

from relay.events.bucket import BucketSettings, BucketStore
from relay.runtime.config.publishing import Stream
from relay.runtime.settings import secret_of


def bucket_store(stream: Stream) -> BucketStore:
    """Return the store of a stream to a bucket. Raise ConfigurationError."""
    secret = secret_of(stream.secret_access_key, stream.secret_access_key_file, f"the stream {stream.name}")
    return BucketStore(
        BucketSettings(stream.bucket, stream.region, stream.endpoint or "", stream.access_key_id, secret)
    )
