"""Streams to Kafka: one record an event, keyed by its id (DEST-008). Owns `aiokafka`, the extra `kafka`.

A batch is done when all in-sync replicas have every record. A record that the topic does not take because it is too
large is refused; after any other fault the producer is made anew at the next try.
"""

import asyncio
import contextlib
import importlib.util
from collections.abc import Callable, Sequence
from typing import Any, Final

from relay.errors import ConfigurationError
from relay.ports.events import DONE, Post, Sent, Verdict

SECONDS_MAX: Final = 45.0


class KafkaSink:
    """Sink of a Kafka topic. `make_producer` makes what sends; by default a producer of aiokafka."""

    def __init__(
        self, brokers: Sequence[str], topic: str, make_producer: Callable[[Sequence[str]], Any] | None = None
    ) -> None:
        """Raise ConfigurationError when the extra is not installed."""
        if importlib.util.find_spec("aiokafka") is None:
            raise ConfigurationError("Streams to Kafka need aiokafka: install `relay-mta[kafka]`.")
        self._brokers = tuple(brokers)
        self._topic = topic
        self._make_producer = make_producer or _producer
        self._producer: Any = None

    async def take(self, posts: Sequence[Post]) -> Sequence[Sent]:
        """Send a batch and wait until all of it is kept."""
        import aiokafka.errors  # noqa: PLC0415 (see above)

        try:
            async with asyncio.timeout(SECONDS_MAX):
                if self._producer is None:
                    self._producer = self._make_producer(self._brokers)
                    await self._producer.start()
                answers = await asyncio.gather(*(self._send(post) for post in posts), return_exceptions=True)
        except (aiokafka.errors.KafkaError, OSError, TimeoutError) as error:
            await self.close()
            return [Sent(Verdict.AGAIN, type(error).__name__)] * len(posts)
        sent = [_judged(answer, aiokafka.errors) for answer in answers]
        if any(one.verdict is Verdict.AGAIN for one in sent):
            await self.close()
        return sent

    async def close(self) -> None:
        """Close the producer."""
        producer, self._producer = self._producer, None
        if producer is not None:
            with contextlib.suppress(Exception):
                async with asyncio.timeout(SECONDS_MAX):
                    await producer.stop()

    async def _send(self, post: Post) -> None:
        await self._producer.send_and_wait(self._topic, value=post.item.body, key=post.item.key.encode())


def _judged(answer: object, errors: Any) -> Sent:
    if not isinstance(answer, BaseException):
        return DONE
    if isinstance(answer, (errors.MessageSizeTooLargeError, errors.RecordTooLargeError)):
        return Sent(Verdict.REFUSED, "larger than the Kafka topic takes")
    if isinstance(answer, (errors.KafkaError, OSError, TimeoutError)):
        return Sent(Verdict.AGAIN, type(answer).__name__)
    raise answer


def _producer(brokers: Sequence[str]) -> Any:
    import aiokafka  # noqa: PLC0415 (see above)

    return aiokafka.AIOKafkaProducer(
        bootstrap_servers=list(brokers), acks="all", enable_idempotence=True, request_timeout_ms=30_000
    )
