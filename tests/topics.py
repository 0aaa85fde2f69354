"""Topics in one process: a real catalog, queue, dispatcher and poster, a clock that moves when told.

And a consumer's view of them, written against the documentation of SNS alone: `verified` checks a body as a consumer
would that knows nothing of this project.
"""

import asyncio
import base64
import json
from functools import cache

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding

from relay.events.dispatcher import Dispatcher
from relay.events.publisher import PublishRules, TopicPublisher
from relay.events.queue_files import LocalQueues
from relay.events.topic_courier import TopicCourier
from relay.mail.letter import Letterhead
from relay.model.topic import Publication
from relay.net.endpoints import Endpoints
from relay.policy.arn import TopicArn
from relay.policy.topic_access import Publisher
from relay.runtime.config.load import parse
from relay.runtime.subscription_requests import subscribe
from relay.runtime.topic_keys import KeptSigner
from relay.runtime.topic_requests import create_topic
from relay.signing.secrets import new_master_key
from relay.signing.topic_certificate import new_authority, new_certificate
from relay.signing.topic_token import Tokens
from relay.store.catalog import CATALOG_FILE, open_catalog
from relay.store.event_queue import EventQueue
from relay.store.topic_directory import CatalogTopics
from relay.testing.clock import ManualClock
from relay.testing.log import MemoryLog

ACCOUNT = "000000000001"
REGION = "local-1"
URL = "https://relay.example"
LETTERHEAD = Letterhead("Relay", REGION, "relay.example", "no-reply@relay.example", "postmaster@relay.example")
CONFIG = """
hostname: relay.example
data_dir: {directory}
topics: {{private_networks: ["127.0.0.0/8"]}}
"""


def verified(body, certificate_pem):
    """Return the fields of a body whose signature is good; fail otherwise."""
    fields = json.loads(body)
    names = {
        "Notification": ["Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"],
        "SubscriptionConfirmation": [
            "Message",
            "MessageId",
            "SubscribeURL",
            "Timestamp",
            "Token",
            "TopicArn",
            "Type",
        ],
    }
    names["UnsubscribeConfirmation"] = names["SubscriptionConfirmation"]
    text = "".join(f"{name}\n{fields[name]}\n" for name in names[fields["Type"]] if name in fields)
    algorithm = {"1": hashes.SHA1, "2": hashes.SHA256}[fields["SignatureVersion"]]()
    key = x509.load_pem_x509_certificate(certificate_pem).public_key()
    key.verify(base64.b64decode(fields["Signature"]), text.encode(), padding.PKCS1v15(), algorithm)
    return fields


@cache
def signers():
    """Return two signers, made once: RSA keys take long."""
    authority = new_authority("relay.example", 1_790_000_000_000)
    return [new_certificate("relay.example", *authority, 1_790_000_000_000) for _ in range(2)]


class Counts:
    """Metrics that are looked at afterwards."""

    def __init__(self):
        self.found = {}

    def __call__(self, name, labels):
        self.found[name] = self.found.get(name, 0) + 1

    def count(self, name, *labels, amount=1):
        self.found[name] = self.found.get(name, 0) + amount

    def gauge(self, name, value, *labels):
        self.found[name] = value

    def observe(self, name, value, *labels):
        pass


class Names:
    """A resolver: every name is this machine, unless `found` says otherwise."""

    def __init__(self):
        self.found = {}

    async def addresses(self, host):
        return self.found.get(host, ["127.0.0.1"])


class Mails:
    """Keeps mail that is handed over."""

    def __init__(self):
        self.kept = []
        self.full = False

    async def mail(self, account, recipient, head, body):
        if self.full:
            return False
        self.kept.append((account, recipient, head, body))
        return True


class Bench:
    """All parts of topics, opened on a directory; open another one on it to see what survives."""

    def __init__(self, directory, *, clock=None, master=None, seconds_max=5.0, judge=lambda address: ""):
        self.directory = directory
        self.clock = clock or ManualClock()
        self.master = master or new_master_key()
        self.log = MemoryLog()
        self.counts = Counts()
        self.names = Names()
        self.mails = Mails()
        self.config = parse(CONFIG.format(directory=directory), directory / "relay.yaml").config
        self.catalog = open_catalog(directory, self.master, now_ms=self.clock.now_ms)
        if self.catalog.accounts.get(ACCOUNT) is None:
            self.catalog.accounts.create(ACCOUNT, sandbox=False)
        self.signer = KeptSigner()
        self.signer.replace(signers()[0], URL)
        self.certificate = signers()[0].certificate
        tokens = Tokens(self.master)
        self.queue = EventQueue(directory / "events" / "queue.db", self.log, bytes_max=1 << 30, age_seconds_max=10**7)
        self.queues = LocalQueues(directory, rotate_bytes=1 << 20, keep=3)
        self.directories = [CatalogTopics(directory / CATALOG_FILE, self.master) for _ in range(2)]
        self.publisher = TopicPublisher(
            PublishRules(REGION, URL), self.directories[0], self.signer, tokens, self.counts
        )
        self.poster = Endpoints(self.names, judge, ports=(), trusted=lambda _: True, seconds_max=seconds_max)
        self.courier = TopicCourier(
            directory=self.directories[1],
            poster=self.poster,
            mailer=self.mails,
            queues=self.queues,
            tokens=tokens,
            signer=self.signer,
            mail_head=LETTERHEAD,
            clock=self.clock,
            log=self.log,
            count=self.counts,
            jitter=lambda: 0.5,
        )

    def close(self):
        for one in (*self.directories, self.catalog, self.queue):
            one.close()

    def topic(self, name="bounces", account=ACCOUNT, **attributes):
        create_topic(self.config, self.catalog, account, name, attributes)
        return TopicArn(REGION, account, name)

    def subscribe(self, topic, protocol, endpoint, *, confirmed=True, owner=ACCOUNT, **attributes):
        made = subscribe(self.config, self.catalog, topic, owner, protocol, endpoint, attributes)
        return self.catalog.subscriptions.confirm_by_owner(made.id) if confirmed else made

    def publish(self, topic, message="hello", subject="", *, publisher=None, attributes=None, by_protocol=None):
        self.publisher.refresh()
        publication = Publication(message, subject, attributes or {}, by_protocol or {})
        found = self.publisher.publish(topic, publication, publisher or Publisher(ACCOUNT), self.clock.now_ms())
        self.queue.put(found.items, self.clock.now_ms())
        return found.message_id

    def ask(self):
        """Put the questions to endpoints into the queue, as the events process does."""
        self.publisher.refresh()
        unasked = self.catalog.subscriptions.unasked()
        self.queue.put([self.publisher.question(one, "1") for one in unasked], self.clock.now_ms())
        self.catalog.subscriptions.asked(unasked)

    def deliver(self, times=1, every_seconds=0.0):
        """Send what is due, a few times, and let the clock go on in between."""

        async def run():
            dispatcher = Dispatcher(self.queue, {self.courier.kind: self.courier}, self.clock, self.log, self.counts)
            for n in range(times):
                await dispatcher.run_once()
                if n + 1 < times:
                    self.clock.advance(every_seconds)
            self.poster.close()
            await self.queues.close()

        asyncio.run(run())

    def count(self, name):
        return self.counts.found.get(f"relay_topic_{name}_total", 0)

    def dead(self):
        return self.queue.dead_letters("", 0, 100)

    def waiting(self):
        return sum(state.waiting for state in self.queue.targets())
