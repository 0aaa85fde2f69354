"""What bounces and complaints make of the lists, each once."""

import orjson
import pytest

from relay.model.configuration_set import ConfigurationSet
from relay.model.event import LoggedEvent
from relay.model.message import NewEvent
from relay.policy.stays import DAY_MS
from relay.store.catalog import open_catalog
from relay.store.directory import CatalogDirectory
from relay.store.suppression_applier import SuppressionApplier

A, B = "000000000001", "000000000002"
KEY = bytes(range(32))
AT_MS = 1767323045000


class Counts:
    def __init__(self):
        self.seen = []

    def count(self, name, *labels, amount=1):
        self.seen.append((name, *labels, amount))


class World:
    def __init__(self, directory):
        self.directory = directory
        self.catalog = open_catalog(directory, KEY, now_ms=lambda: AT_MS + 1, hostname="relay.example")
        for account in (A, B):
            self.catalog.accounts.create(account)
        self.reader = CatalogDirectory(directory, KEY)
        self.metrics = Counts()
        self.seq = 0
        self.open()

    def open(self):
        self.applier = SuppressionApplier(self.directory, KEY, "relay.example", self.metrics)
        self.applier.open()

    def event(self, kind, addresses, *, account=A, name="", note=None, seq=0, **body):
        self.seq = seq or self.seq + 1
        tags = {"ses:configuration-set": [name]} if name else {"ses:source-ip": ["127.0.0.1"]}
        mail = {"timestamp": "2026-01-02T03:04:05.000Z", "messageId": f"m{self.seq}", "source": "app@x.example"}
        mail |= {"sendingAccountId": account, "tags": tags, "destination": list(addresses)}
        listed = [{"emailAddress": one, "status": "5.1.1"} for one in addresses]
        body |= {"timestamp": "2026-01-02T03:04:05.000Z", "feedbackId": f"f{self.seq}"}
        if kind == "Bounce":
            body = {"bounceType": "Permanent", "bounceSubType": "General", "bouncedRecipients": listed} | body
        if kind == "Complaint":
            body = {"complainedRecipients": listed, "complaintSubType": None} | body
        record = orjson.dumps({"eventType": kind, "mail": mail, kind.lower(): body})
        notes = orjson.dumps({"suppress": True} if note is None else note)
        return LoggedEvent(1, self.seq, NewEvent(f"e{self.seq}", kind, f"m{self.seq}", record, notes))

    def apply(self, *events, shard=1):
        self.applier.apply(shard, events)

    def bounce(self, *addresses, **more):
        self.apply(self.event("Bounce", addresses, **more))

    def complain(self, *addresses, **more):
        self.apply(self.event("Complaint", addresses, **more))

    def listed(self, account=A):
        return {entry.address: entry.reason for entry in self.catalog.suppression.entries(account)}

    def days(self, address):
        stay = self.catalog.relay_list.check(address)
        return (stay.until_ms - AT_MS) // DAY_MS if stay else 0


@pytest.fixture
def world(tmp_path):
    made = World(tmp_path)
    yield made
    made.applier.close()
    made.reader.close()
    made.catalog.close()


def test_a_hard_bounce_is_on_both_lists_with_what_caused_it(world):
    world.bounce("Gone@x.example", diagnostic="no")
    assert world.listed() == {"Gone@x.example": "BOUNCE"}
    entry = world.catalog.suppression.get(A, "gone@x.example")
    assert (entry.message_id, entry.feedback_id, entry.updated_ms) == ("m1", "f1", AT_MS)
    assert world.catalog.suppression.trigger(entry)["bounce"]["feedbackId"] == "f1"
    assert world.days("GONE@x.example") == 1
    assert world.listed(B) == {}
    added = [("relay_suppression_added_total", which, "BOUNCE", 1) for which in ("account", "relay")]
    assert world.metrics.seen == added


def test_readers_see_it_at_their_next_look(world):
    assert world.reader.suppressed(A, "gone@x.example") is None
    assert not world.reader.listed("gone@x.example", AT_MS)
    world.bounce("gone@x.example")
    assert world.reader.refresh()
    assert world.reader.suppressed(A, "gone@x.example").reason == "BOUNCE"
    assert world.reader.listed("Gone@X.example", AT_MS + DAY_MS - 1)
    assert not world.reader.listed("gone@x.example", AT_MS + DAY_MS)
    assert not world.reader.listed("here@x.example", AT_MS)
    world.catalog.relay_list.remove("gone@x.example")
    world.reader.refresh()
    assert not world.reader.listed("gone@x.example", AT_MS)


def test_a_complaint_needs_the_lists_reason_also_for_the_relays_list(world):
    world.complain("angry@x.example")
    assert (world.listed(), world.days("angry@x.example")) == ({"angry@x.example": "COMPLAINT"}, 1)
    world.catalog.accounts.set_suppressed_reasons(A, ["BOUNCE"])
    world.complain("cross@x.example")
    assert ("cross@x.example" in world.listed(), world.days("cross@x.example")) == (False, 0)


def test_a_bounce_is_on_the_relays_list_whatever_the_account_says(world):
    world.catalog.accounts.set_suppressed_reasons(A, [])
    world.bounce("gone@x.example")
    assert (world.listed(), world.days("gone@x.example")) == ({}, 1)
    world.bounce("gone@x.example", account="000000000009")  # an account that is not there
    assert world.days("gone@x.example") == 2


@pytest.mark.req("SUPP-020", "SUPP-021")
def test_a_set_says_what_its_mail_adds(world):
    world.catalog.configuration_sets.create(ConfigurationSet(A, "complaints", suppressed_reasons=("COMPLAINT",)))
    world.catalog.configuration_sets.create(ConfigurationSet(A, "nothing", suppressed_reasons=()))
    world.bounce("one@x.example", name="complaints")
    world.complain("two@x.example", name="complaints")
    world.complain("three@x.example", name="nothing")
    world.bounce("four@x.example", name="deleted")
    assert world.listed() == {"two@x.example": "COMPLAINT", "four@x.example": "BOUNCE"}


def test_a_complaint_stays_one(world):
    world.complain("angry@x.example")
    world.bounce("angry@x.example")
    entry = world.catalog.suppression.get(A, "angry@x.example")
    assert (entry.reason, entry.feedback_id) == ("COMPLAINT", "f1")
    assert world.catalog.suppression.trigger(entry)["eventType"] == "Complaint"
    world.bounce("gone@x.example")
    world.complain("gone@x.example")
    assert world.listed()["gone@x.example"] == "COMPLAINT"


def test_what_is_added_by_hand_is_nobodys_feedback_any_more(world):
    world.bounce("gone@x.example")
    entry = world.catalog.suppression.add(A, "gone@x.example", "COMPLAINT")
    assert (entry.message_id, world.catalog.suppression.trigger(entry)) == ("", None)
    world.bounce("left@x.example")
    world.catalog.suppression.remove(A, "left@x.example")
    assert world.catalog.suppression.erase("left@x.example") == 0
    assert world.applier._file.rows("get_trigger", {"account": A, "folded": "left@x.example"}) == []


def test_each_event_is_applied_once(world):
    events = [world.event("Bounce", ["gone@x.example"]) for _ in range(3)]
    world.apply(*events[:2])
    world.applier.close()
    world.open()  # as after a kill between the effect and its acknowledgement
    assert world.applier.place(1) == 2
    world.apply(*events)
    assert (world.days("gone@x.example"), world.applier.place(1)) == (4, 3)
    world.apply(world.event("Bounce", ["gone@x.example"], seq=1), shard=2)  # another log has numbers of its own
    assert (world.days("gone@x.example"), world.applier.place(2)) == (8, 1)


def test_an_event_that_cannot_be_read_changes_nothing_and_can_be_passed(world):
    good = world.event("Bounce", ["gone@x.example"])
    bad = LoggedEvent(1, 2, NewEvent("e2", "Bounce", "m2", b'{"bounce":{}}', b'{"suppress":true}'))
    with pytest.raises(KeyError):
        world.apply(good, bad)
    assert (world.listed(), world.applier.place(1)) == ({}, 0)
    world.apply(good)
    world.applier.skip(1, 2)
    assert (world.listed(), world.applier.place(1)) == ({"gone@x.example": "BOUNCE"}, 2)


def test_other_events_move_the_place_alone(world):
    world.apply(world.event("Send", ["a@x.example"]), world.event("Delivery", ["a@x.example"]))
    assert (world.applier.place(1), world.listed(), world.metrics.seen) == (2, {}, [])
    assert not world.reader.refresh() or not world.reader.refresh()


def test_the_relays_list_has_no_addresses_in_it(world, tmp_path):
    world.catalog.accounts.set_suppressed_reasons(A, [])
    world.bounce("very-special-name@x.example")
    world.applier.close()
    assert all(b"very-special-name" not in path.read_bytes() for path in tmp_path.glob("suppression.db*"))
    world.open()
    assert world.catalog.relay_list.count() == 1
    assert world.catalog.relay_list.erase("Very-Special-Name@x.example") == 1
    assert world.catalog.relay_list.count() == 0


def test_stays_are_forgotten_a_month_after_their_end(tmp_path):
    now = [AT_MS]
    with open_catalog(tmp_path, KEY, now_ms=lambda: now[0]) as catalog:
        with catalog.relay_list._file.writing():
            catalog.relay_list.bounced("a@x.example", AT_MS)
        now[0] = AT_MS + 31 * DAY_MS
        assert catalog.relay_list.forget_ended() == 0
        now[0] += 1
        assert catalog.relay_list.forget_ended() == 1
        assert catalog.relay_list.check("a@x.example") is None
