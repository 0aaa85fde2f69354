"""When a group of writes waits for company: never for a lone client."""

from relay.store.company import FORGET_SECONDS, WAIT_MAX_SECONDS, Company


def rush(company, groups, messages, sync_seconds=0.002, every=0.005):
    now = 0.0
    for _ in range(groups):
        now += every
        company.committed(messages, sync_seconds, now)
    return now


def test_a_lone_client_never_waits():
    company = Company()
    assert company.wait_seconds(0.0) == 0.0
    now = rush(company, 1000, 1)
    assert company.wait_seconds(now) == 0.0


def test_several_clients_wait_for_each_other_less_than_a_sync():
    company = Company()
    now = rush(company, 100, 4)
    assert 0.0 < company.wait_seconds(now) <= 0.002


def test_a_slow_disk_does_not_make_the_wait_long():
    company = Company()
    now = rush(company, 100, 8, sync_seconds=0.5)
    assert company.wait_seconds(now) == WAIT_MAX_SECONDS


def test_after_a_pause_the_first_message_is_alone_again():
    company = Company()
    now = rush(company, 100, 4)
    assert company.wait_seconds(now + FORGET_SECONDS + 0.001) == 0.0


def test_groups_of_settlements_say_nothing():
    company = Company()
    now = rush(company, 100, 4)
    for _ in range(100):
        company.committed(0, 0.002, now)
    assert company.wait_seconds(now) > 0.0
