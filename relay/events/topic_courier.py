"""The courier of subscriptions: one post to an endpoint, a mailbox or a local queue (TOPIC-101 to 106, 126, 131).

What a subscription is set to is read when a post is tried, so that a change holds for what waits too. A subscription
that ended or is gone gets nothing: what waited for it is over. When retries end the text goes to the queue that the
subscription names (`redrive`), or the post becomes a dead letter; the subscription stays (TOPIC-137).

An item that was made without a key is signed here, at each try; it is held while there still is none.

Nothing that an endpoint answers is kept or logged but its status, and nothing that is secret leaves but to it.
"""

import asyncio
import hmac
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final

import orjson

from relay.errors import RelayError, RequestRefusedError, StorageError, TemporaryError
from relay.events import envelope
from relay.events.envelope import Letterhead, letterhead_of
from relay.events.publisher import TARGET, is_signed
from relay.events.retry_policy import LOCAL, SUM_MAX_SECONDS, DeliveryPolicy, effective, of_subscription, of_topic
from relay.events.retry_policy import MAIL as MAIL_POLICY
from relay.mail.letter import Letterhead as MailHead
from relay.mail.topic_mail import topic_mail
from relay.model.topic import MAIL, WEB, Protocol, Subscription, SubscriptionState, Topic
from relay.policy.arn import BadArn, SubscriptionArn, parse_queue_arn, parse_subscription_arn
from relay.ports import Clock, Log
from relay.ports.events import DONE, Post, Sent, Verdict
from relay.ports.topics import Mailer, Posted, Poster, QueueFiles, TopicDirectory, TopicSigner
from relay.signing.notification import NOTIFICATION
from relay.signing.topic_token import Tokens

PARALLEL_WEB: Final = 8
PARALLEL_LOCAL: Final = 16
HELD_SECONDS_MAX: Final = 30.0  # that a throttled post waits for its turn
TOO_MANY: Final = 429
_CLIENT_FAULT: Final = range(400, 500)

Count = Callable[[str, tuple[str, str, str]], None]
"""Counts one of a metric for account, topic and subscription."""
Random = Callable[[], float]


@dataclass(frozen=True, slots=True)
class _Job:
    """A post with all that delivering it needs."""

    post: Post
    head: Letterhead
    arn: SubscriptionArn
    subscription: Subscription
    topic: Topic

    @property
    def labels(self) -> tuple[str, str, str]:
        return self.topic.account, self.topic.name, self.subscription.id

    @property
    def raw(self) -> bool:
        return self.subscription.raw and self.head.type == NOTIFICATION

    @property
    def wants_signature(self) -> bool:
        """Whether the body needs a signature that was not made with the item."""
        asks = self.head.type != NOTIFICATION and self.subscription.protocol is not Protocol.EMAIL
        return not self.head.signature and (asks or is_signed(self.subscription))


class TopicCourier:
    """Delivers posts to subscriptions (port `Courier`). `mail_head` and `sum_max_seconds` may be replaced."""

    kind = TARGET

    def __init__(
        self,
        *,
        directory: TopicDirectory,
        poster: Poster,
        mailer: Mailer,
        queues: QueueFiles,
        tokens: Tokens,
        signer: TopicSigner,
        mail_head: MailHead,
        clock: Clock,
        log: Log,
        count: Count,
        sum_max_seconds: float = SUM_MAX_SECONDS,
        jitter: Random = random.random,
    ) -> None:
        self.mail_head = mail_head
        self.sum_max_seconds = sum_max_seconds
        self.poster = poster
        self._directory = directory
        self._mailer = mailer
        self._queues = queues
        self._tokens = tokens
        self._signer = signer
        self._clock = clock
        self._log = log
        self._count = count
        self._jitter = jitter
        self._turns: dict[str, float] = {}

    # --- what the queue asks -----------------------------------------------------------------------------------

    def parallel(self, target: str) -> int:
        """Return how many posts of a subscription may be on their way at a time."""
        job = self._known(target)
        if job is None:
            return 1
        subscription, topic = job
        if subscription.protocol not in WEB:
            return PARALLEL_LOCAL
        rate = self._policy(subscription, topic).receives_per_second
        return PARALLEL_WEB if rate is None else max(1, min(PARALLEL_WEB, rate))

    def patient(self, target: str) -> bool:
        """Say whether tries have no end (TOPIC-136)."""
        job = self._known(target)
        return job is not None and job[0].protocol is Protocol.QUEUE

    def retry_seconds(self, post: Post) -> float | None:
        """Return how long to wait after a failed try, None to give up (TOPIC-132 to 136)."""
        known = self._known(post.target)
        if known is None:
            return None
        subscription, topic = known
        if subscription.protocol in WEB:
            policy = self._policy(subscription, topic).retry
            assert policy is not None
        else:
            policy = MAIL_POLICY if subscription.protocol in MAIL else LOCAL
        wait_ms = policy.wait_ms(post.attempts + 1, self._jitter())
        return None if wait_ms is None else wait_ms / 1000

    async def send(self, post: Post) -> Sent:
        """Try once to deliver a post."""
        try:
            self._directory.refresh()
            job = self._job(post)
        except StorageError as error:
            return Sent(Verdict.AGAIN, str(error))
        if job is None:
            return Sent(Verdict.DONE, "the subscription is gone")
        if job.wants_signature:
            job = self._signed(job)
            if not job.head.signature:
                return Sent(Verdict.HELD, "there is no key to sign it with")
        try:
            sent = await self._try(job)
        except RelayError as error:
            sent = Sent(Verdict.AGAIN if isinstance(error, TemporaryError) else Verdict.REFUSED, str(error))
        if sent.verdict is Verdict.DONE:
            self._count("relay_topic_delivered_total", job.labels)
            return sent
        return await self._failed(job, sent)

    async def _failed(self, job: _Job, sent: Sent) -> Sent:
        """Count a failure; when it is the last one, the text goes where the subscription wants it."""
        self._count("relay_topic_failed_total", job.labels)
        if sent.verdict is Verdict.AGAIN and self.retry_seconds(job.post) is not None:
            self._count("relay_topic_retried_total", job.labels)
            return sent
        self._count("relay_topic_dead_lettered_total", job.labels)
        self._log.warning(
            "a notification could not be delivered",
            subscription=str(job.arn),
            notification=job.post.item.key,
            attempts=job.post.attempts + 1,
            reason=sent.detail,
        )
        queue = parse_queue_arn(job.subscription.redrive) if job.subscription.redrive else None
        if queue is None or isinstance(queue, BadArn) or job.head.type != NOTIFICATION:
            return sent
        try:
            await self._queues.append(queue.account, queue.name, self._line(job))
        except RelayError:
            return sent  # it stays as a dead letter of the relay's own
        return Sent(Verdict.DONE, f"{sent.detail}; moved to {queue}"[:300])

    # --- one try -----------------------------------------------------------------------------------------------

    async def _try(self, job: _Job) -> Sent:
        protocol = job.subscription.protocol
        if protocol in WEB:
            return await self._to_web(job)
        if protocol in MAIL:
            return await self._to_mail(job)
        queue = parse_queue_arn(job.subscription.endpoint)
        if isinstance(queue, BadArn):
            return Sent(Verdict.REFUSED, queue.text)
        await self._queues.append(queue.account, queue.name, self._line(job))
        return DONE

    async def _to_web(self, job: _Job) -> Sent:
        subscription, key = job.subscription, job.post.item.key
        policy = self._policy(subscription, job.topic)
        if not await self._turn(job, policy.receives_per_second):
            return Sent(Verdict.AGAIN, "its rate is used up")
        body = job.post.item.body if job.raw else self._body(job)
        headers = envelope.headers(job.head.type, key, job.arn, raw=job.raw)
        if job.head.type == NOTIFICATION and policy.content_type:
            headers["Content-Type"] = policy.content_type
        if subscription.secret:
            headers["x-relay-signature"] = hmac.digest(subscription.secret.encode(), body, "sha256").hex()
        return judged(await self.poster.post(subscription.endpoint, subscription.login, headers, body))

    async def _to_mail(self, job: _Job) -> Sent:
        subscription, item = job.subscription, job.post.item
        as_json = subscription.protocol is Protocol.EMAIL_JSON
        url = ""
        if job.head.type == NOTIFICATION:
            text = self._body(job).decode() if as_json else item.body.decode()
            url = "" if as_json else envelope.unsubscribe_url(job.head.url, job.arn)
        else:
            token = self._tokens.token(subscription.id, subscription.token_ms)
            fields = envelope.confirmation_fields(job.head, item.key, job.arn, token)
            text = self._body(job).decode() if as_json else f"{fields['Message']}\n\n{fields['SubscribeURL']}"
        head, body = topic_mail(
            self.mail_head,
            subscription.endpoint,
            name=job.topic.display_name,
            kind=job.head.type,
            subject=item.subject,
            text=text,
            unsubscribe_url=url,
            now_ms=self._clock.now_ms(),
        )
        kept = await self._mailer.mail(job.topic.account, subscription.endpoint, head, body)
        return DONE if kept else Sent(Verdict.AGAIN, "too many mails of the account wait")

    async def _turn(self, job: _Job, rate: int | None) -> bool:
        """Wait for the turn of a throttled post (`maxReceivesPerSecond`); False when that would take too long."""
        if rate is None:
            return True
        now = time.monotonic()
        if len(self._turns) > 10_000:  # noqa: PLR2004 - those in the past say nothing any more
            self._turns = {one: turn for one, turn in self._turns.items() if turn > now}
        turn = max(now, self._turns.get(job.subscription.id, 0.0))
        if turn - now > HELD_SECONDS_MAX:
            return False
        self._turns[job.subscription.id] = turn + 1 / rate
        await asyncio.sleep(turn - now)
        return True

    # --- bodies ------------------------------------------------------------------------------------------------

    def _signed(self, job: _Job) -> _Job:
        """Sign a post with the key of now; as it is while there is none."""
        head, item = job.head, job.post.item
        if head.type == NOTIFICATION:
            text = item.body.decode()
            fields = envelope.notification_fields(job.arn.topic, item.key, item.subject, text, head.timestamp)
        else:
            token = self._tokens.token(job.subscription.id, job.subscription.token_ms)
            fields = envelope.confirmation_fields(head, item.key, job.arn, token)
        return replace(job, head=head.signed(self._signer.sign(job.topic.signature_version, fields)))

    def _body(self, job: _Job) -> bytes:
        """Return the envelope of a post; the same at each try."""
        item, subscription = job.post.item, job.subscription
        if job.head.type == NOTIFICATION:
            return envelope.notification(job.head, item.key, item.subject, item.body.decode(), job.arn)
        token = self._tokens.token(subscription.id, subscription.token_ms)
        return envelope.confirmation(job.head, item.key, job.arn, token)

    def _line(self, job: _Job) -> bytes:
        """Return one line of JSON: the envelope, or a raw text, which is a JSON string when it is no JSON itself."""
        if not job.raw:
            return self._body(job)
        text = job.post.item.body
        try:
            return orjson.dumps(orjson.loads(text))
        except orjson.JSONDecodeError:
            return orjson.dumps(text.decode())

    # --- what is known -----------------------------------------------------------------------------------------

    def _job(self, post: Post) -> _Job | None:
        """Return a post with its subscription, None when there is nobody to deliver it to any more."""
        known = self._known(post.target)
        if known is None:
            return None
        subscription, topic = known
        head = letterhead_of(post.item.attributes)
        arn = parse_subscription_arn(post.target.partition(":")[2])
        assert not isinstance(arn, BadArn)
        if head.type == NOTIFICATION:
            wanted = subscription.state is SubscriptionState.CONFIRMED
        else:  # a question is asked only while it is the newest one and not answered
            newest = head.timestamp == envelope.timestamp(subscription.token_ms)
            wanted = newest and subscription.state is not SubscriptionState.CONFIRMED
        return _Job(post, head, arn, subscription, topic) if wanted else None

    def _known(self, target: str) -> tuple[Subscription, Topic] | None:
        arn = parse_subscription_arn(target.partition(":")[2])
        if isinstance(arn, BadArn):
            return None
        subscription = self._directory.subscription(arn.id)
        topic = self._directory.topic(arn.topic.account, arn.topic.name)
        return None if subscription is None or topic is None else (subscription, topic)

    def _policy(self, subscription: Subscription, topic: Topic) -> DeliveryPolicy:
        return _policies(topic.delivery_policy, subscription.delivery_policy, self.sum_max_seconds)


def judged(posted: Posted) -> Sent:
    """Return what an endpoint's answer means (TOPIC-131; TOPIC-008: what is no 2xx is a failure)."""
    if posted.forbidden:
        return Sent(Verdict.REFUSED, posted.fault)
    if not posted.status:
        return Sent(Verdict.AGAIN, posted.fault)
    if 200 <= posted.status < 300:  # noqa: PLR2004 - RFC 9110 section 15.3
        return DONE
    refused = posted.status in _CLIENT_FAULT and posted.status != TOO_MANY
    return Sent(Verdict.REFUSED if refused else Verdict.AGAIN, f"status {posted.status}")


@lru_cache(maxsize=1024)
def _policies(topic: str, subscription: str, sum_max_seconds: float) -> DeliveryPolicy:
    """Return the policy in force; a stored text that a lower limit refuses today counts as none."""
    try:
        own = of_subscription(subscription, sum_max_seconds=sum_max_seconds)
    except RequestRefusedError:
        own = DeliveryPolicy()
    try:
        return effective(of_topic(topic, sum_max_seconds=sum_max_seconds), own)
    except RequestRefusedError:
        return effective(of_topic(""), own)
