"""Answers to a return path are forwarded a few times a day."""

from relay.policy.forward_limit import FORWARDS_MAX, KNOWN_MAX, WINDOW_MS, ForwardLimit


def test_each_recipient_of_each_message_has_its_own_bound_and_a_new_one_the_next_day():
    limit = ForwardLimit()
    assert sum(limit.admits("a", 0, now) for now in range(1000)) == FORWARDS_MAX
    assert limit.admits("a", 1, 5)
    assert limit.admits("b", 0, 5)
    assert not limit.admits("a", 0, WINDOW_MS - 1)
    assert limit.admits("a", 0, WINDOW_MS)


def test_memory_is_bounded():
    limit = ForwardLimit()
    for number in range(KNOWN_MAX + 100):
        assert limit.admits(str(number), 0, 0)
    assert len(limit._counts) == KNOWN_MAX


def test_a_clock_that_went_back_lets_answers_through():
    limit = ForwardLimit()
    for _ in range(FORWARDS_MAX):
        limit.admits("a", 0, 10_000)
    assert limit.admits("a", 0, 0)
