"""Source addresses at the command line, without a relay that runs."""

import pytest

ABSENT, SUSPENDED, GOOD = "192.0.2.77", "127.0.54.1", "127.0.54.2"  # the first is for documentation: nobody has it


def test_the_doctor_names_addresses_that_nothing_can_leave_from(site):
    for address in (ABSENT, SUSPENDED, GOOD):
        site.call("address", "add", address)
    site.call("address", "suspend", SUSPENDED, "--reason", "a complaint")
    out, _ = site.spawn("doctor").communicate()
    assert f"{ABSENT} is no address of this host" in out
    assert f"relay address remove {ABSENT}" in out
    assert f"{SUSPENDED} is suspended: a complaint" in out
    assert f"relay address resume {SUSPENDED}" in out
    assert "1 of 3 can be used" in out
    assert f"{GOOD} is " not in out


def test_who_chooses_a_pool_without_addresses_is_told(site):
    site.call("address", "add", GOOD)
    for name in ("empty", "spare", "full"):
        site.call("pool", "create", name, "--for-all")
    site.call("address", "move", GOOD, "--pool", "full")
    out, error = site.call("pool", "assign", "empty", "--whole-account")
    assert "leaves from pool empty" in out
    assert "Pool empty has no address yet" in error
    assert not site.call("pool", "assign", "full", "--whole-account")[1]
    site.call("pool", "overflow", "spare", "full", "--for-all")
    assert not site.call("pool", "assign", "spare", "--whole-account")[1]
    assert not site.call("pool", "assign", "ses-shared-pool", "--whole-account")[1]


@pytest.mark.req("WARM-009")
def test_what_comes_after_a_warm_up_is_advised(site):
    site.call("address", "add", GOOD, "--warmup", "auto")
    _, error = site.call("warmup", "show", GOOD)
    assert "about 1,000 messages a day to each provider" in error
    assert "a sudden jump gets mail blocked" in error


def test_a_pool_that_cannot_be_meant_is_refused_with_the_reason(site):
    site.call("address", "add", GOOD)
    site.call("pool", "create", "news")
    for command in (["pool", "delete", "ses-shared-pool"], ["pool", "overflow", "ses-shared-pool", "none"]):
        assert "is built in" in site.call(*command, code=64)[1]
    _, error = site.call("address", "move", GOOD, "--pool", "news", code=64)
    assert "Without --account" in error
