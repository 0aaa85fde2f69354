"""What tests of the stages before `Outbound` share: a spool in memory, and a place where jobs end up."""

import asyncio
from functools import partial

from relay.model.content import Content
from relay.model.delivery import DeliveryState
from relay.model.ids import new_message_id
from relay.model.message import Delivery, Message, NewMessage
from relay.pipeline.internal import InternalMail, Origin
from relay.ports import Job
from relay.runtime.observe.metrics import ProcessMetrics
from relay.testing.clock import ManualClock
from relay.testing.log import MemoryLog
from relay.testing.spool import MemorySpool

HOST = "relay.example"
MAIL = b'{"headers":[{"name":"Subject","value":"hello"}],"tags":{"a":["b"]}}'


class Onward:
    """Keeps what is passed on."""

    def __init__(self):
        self.jobs = []

    def enqueue(self, job):
        self.jobs.append(job)

    def withdraw(self, delivery_key):
        return False


class Stage:
    """The surroundings of one stage."""

    def __init__(self):
        self.spool = MemorySpool()
        self.onward = Onward()
        self.clock = ManualClock()
        self.log = MemoryLog()
        self.metrics = ProcessMetrics("test")
        self.finished = []
        self.accepted = []
        self.outcomes = []
        self.waits = []

    def call_later(self, seconds, action):
        self.waits.append(seconds)
        asyncio.get_running_loop().call_soon(action)

    @property
    def common(self):
        return {
            "onward": self.onward,
            "spool": self.spool,
            "finished": self.finished.append,
            "clock": self.clock,
            "call_later": self.call_later,
            "log": self.log,
            "metrics": self.metrics,
        }

    def mail(self):
        origin = Origin(HOST, 1000)
        return InternalMail(origin=origin, spool=self.spool, clock=self.clock, log=self.log, metrics=self.metrics)

    async def accept(self, *recipients, mail_json=MAIL, state=DeliveryState.QUEUED):
        """Put a message into the spool and return the jobs of its deliveries."""
        now_ms = self.clock.now_ms()
        message = Message(
            key=self.spool.next_key(),
            message_id=new_message_id(1, now_ms),
            account="000000000001",
            sender="app@example.com" if mail_json else "",
            accepted_ms=now_ms,
            expires_ms=now_ms + 1000,
            size_bytes=30,
            smtputf8=False,
            eight_bit=False,
            mail_json=mail_json,
        )
        deliveries = [Delivery(message, index, each, state=state) for index, each in enumerate(recipients)]
        done = asyncio.get_running_loop().create_future()
        self.spool.append(
            NewMessage(message, Content(b"Subject: hello\r\n\r\n", b"body\r\n"), deliveries), done.set_result
        )
        await done
        return [Job(each, "token@bounce", partial(self.spool.content, message.key)) for each in deliveries]

    def states(self):
        return [each.state for each in self.spool.deliveries.values()]


async def idle():
    """Let everything that is due run."""
    for _ in range(50):
        await asyncio.sleep(0)
