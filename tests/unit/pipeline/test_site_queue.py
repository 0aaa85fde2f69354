"""Who waits for a site: in turn, never one that was withdrawn, and back to the front without any effect."""

from relay.model.content import Content
from relay.model.message import Delivery, Message, SendOptions
from relay.pipeline.site_item import Item
from relay.pipeline.site_queue import SiteQueue
from relay.ports import Job


def item_of(key, index=0):
    message = Message(
        key=key,
        message_id=f"m{key}",
        account="000000000001",
        sender="s@a.example",
        accepted_ms=0,
        expires_ms=1 << 50,
        size_bytes=1,
        smtputf8=False,
        eight_bit=False,
        mail_json=b"{}",
        options=SendOptions(),
    )
    return Item(Job(Delivery(message, index, f"r{index}@b.example"), "s@a.example", lambda: Content(b"", b"")))


class Notes:
    """Remembers who started, and who waits again."""

    def __init__(self):
        self.started_keys = []
        self.again = []

    def started(self, item):
        self.started_keys.append(item.job.delivery.key)

    def waits_again(self, item):
        self.again.append(item.job.delivery.key)


def filled(*items):
    notes = Notes()
    queue = SiteQueue(notes)
    for item in items:
        queue.enter(item)
    return queue, notes


def test_a_withdrawn_delivery_is_passed_over_and_not_started():
    gone, stays = item_of(1), item_of(2)
    queue, notes = filled(gone, stays)
    gone.waiting = False
    assert queue.first() is stays
    assert queue.start() is stays
    assert queue.start() is None
    assert notes.started_keys == [stays.job.delivery.key]


def test_those_of_one_message_start_together_up_to_a_limit():
    items = [item_of(1, index) for index in range(4)]
    other = item_of(2)
    queue, notes = filled(*items, other)
    first = queue.start()
    items[1].waiting = False
    assert queue.start_alike(first, 1) == [items[2]]
    assert queue.start_alike(first, 5) == [items[3]]  # what follows is of another message
    assert [queue.start(), queue.start()] == [other, None]
    assert len(notes.started_keys) == 4


def test_back_at_the_front_they_keep_their_order():
    one, two, three = (item_of(key) for key in (1, 2, 3))
    queue, notes = filled(one, two, three)
    started = [queue.start(), queue.start()]
    queue.enter_again(started)
    assert sorted(notes.again) == [one.job.delivery.key, two.job.delivery.key]
    assert [queue.start() for _ in range(3)] == [one, two, three]


def test_those_that_shall_not_leave_are_let_go_without_a_start():
    one, two = item_of(1), item_of(2)
    queue, notes = filled(one, two)
    queue.sift(lambda item: item is two)
    assert queue.clear() == [two]
    assert (len(queue), notes.started_keys) == (0, [])
