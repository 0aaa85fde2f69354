"""Source addresses at the command line, without a relay that runs."""

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
