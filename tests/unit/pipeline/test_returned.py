"""What came back is settled once, by whatever evidence and however often it comes."""

from types import SimpleNamespace

import orjson
import pytest

from relay.errors import CorruptionError
from relay.model.ids import new_message_id
from relay.model.message import Delivery, Message
from relay.pipeline.returned import ANY_INDEX, Returned
from relay.ports import Record
from relay.runtime.observe.metrics import ProcessMetrics
from relay.testing.log import MemoryLog
from tests.unit.pipeline.stages import MAIL

ID = new_message_id(1, 1_700_000_000_000)
MESSAGE = Message(
    key=1, message_id=ID, account="000000000001", sender="app@example.com", accepted_ms=1_700_000_000_000,
    expires_ms=1_700_000_900_000, size_bytes=30, smtputf8=False, eight_bit=False, mail_json=MAIL,
)  # fmt: skip


class Owner:
    """The worker that owns a message, and what it wrote."""

    def __init__(self, *recipients):
        self.record_of = Record(
            MESSAGE, [Delivery(MESSAGE, index, each, source="192.0.2.1") for index, each in enumerate(recipients)]
        )
        self.keys = {}
        self.came_back = []
        self.fault = None
        self.answers = []
        self.metrics = ProcessMetrics("test")
        self.returned = Returned(
            inbox=self, mail=SimpleNamespace(forwards=lambda _message, _kind: False), accepted=None,
            came_back=lambda _source, _provider, kind: self.came_back.append(kind), log=MemoryLog(),
            metrics=self.metrics,
        )  # fmt: skip

    def find(self, prefix):
        if self.fault:
            raise self.fault
        return self.record_of if ID.startswith(prefix) else None

    def record(self, key, events, _messages, done):
        new = key not in self.keys
        self.keys.setdefault(key, events)
        done(new, None)

    def complained(self, *named, index=ANY_INDEX, kind="abuse", reporter=""):
        item = {
            "prefix": ID[:25], "index": index, "arrivedMs": 1_700_000_001_000, "kind": "complaint",
            "reportingMta": "",
            "recipients": [[each, "", "", ""] for each in named], "judgements": [], "feedbackType": kind,
            "userAgent": "", "complaintMs": 0, "reporter": reporter,
        }  # fmt: skip
        self.returned.take(orjson.dumps(item), self.answers.append)

    def told(self):
        found = [orjson.loads(event.payload)["complaint"] for events in self.keys.values() for event in events]
        return [[one["emailAddress"] for one in each["complainedRecipients"]] for each in found]


@pytest.mark.req("EVT-028")
def test_a_complaint_counts_once_by_whatever_evidence():
    at = Owner("a@one.example", "b@two.example")
    at.complained(index=1)
    at.complained("b@two.example")
    at.complained(reporter="two.example")
    assert at.told() == [["b@two.example"]]


def test_nobody_complains_in_the_name_of_every_combination():
    at = Owner(*(f"u{number}@one.example" for number in range(6)))
    for bits in range(1, 64):
        at.complained(*(f"u{number}@one.example" for number in range(6) if bits >> number & 1))
    assert len(at.told()) == 7  # each alone, and one together


@pytest.mark.req("EVT-028")
def test_two_providers_complain_of_one_message():
    at = Owner("a@one.example", "b@one.example", "c@two.example", "d@two.example")
    for _ in range(2):
        at.complained(reporter="one.example")
        at.complained(reporter="two.example")
    assert at.told() == [["a@one.example", "b@one.example"], ["c@two.example", "d@two.example"]]


@pytest.mark.req("EVT-026")
def test_what_is_not_against_the_mail_is_told_and_not_held_against_its_address():
    at = Owner("a@one.example")
    at.complained(index=0, kind="not-spam")
    at.complained(index=0, kind="auth-failure")
    at.complained(index=0, kind="fraud")
    assert (at.told(), at.came_back) == ([["a@one.example"]] * 3, ["not-spam", "auth-failure", "complaint"])


def test_feedback_about_a_damaged_record_is_over():
    at = Owner("a@one.example")
    at.fault = CorruptionError("damaged")
    at.complained()
    assert (at.answers, at.keys) == ([None], {})
    assert at.metrics.value("relay_feedback_total", "corrupt") == 1
