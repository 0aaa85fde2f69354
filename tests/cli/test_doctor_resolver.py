"""What `relay doctor` makes of name servers that do not answer for the root."""

import json

import pytest

from tests.nameserver import NameServer


def looked_at(site, nameserver):
    """Return what the doctor says of a name server, without a relay that runs."""
    with site.made.config.open("a") as file:
        file.write(f'\ndns: {{nameservers: ["{nameserver}"], timeout: 1s}}\n')
    out, _ = site.spawn("doctor", "--json").communicate(timeout=60)
    (row,) = [row for row in map(json.loads, out.splitlines()) if row["check"] == "resolver"]
    return row


@pytest.mark.parametrize(
    ("zone", "result", "words"),
    [("example.test", "ok", "for some domains only"), ("other.test", "warning", "refuse to answer")],
)
def test_a_server_of_its_own_zones_alone(site, tmp_path, zone, result, words):
    """It is a server for tests, unless it answers for the relay's own name no more than for the root."""
    with NameServer(tmp_path, {"example": "", zone: ""}) as server:
        row = looked_at(site, server.address)
    assert (row["result"], words in row["detail"]) == (result, True)


def test_a_server_that_is_not_there(site):
    row = looked_at(site, "127.0.0.1:1")
    assert row["result"] == "error"
    assert row["detail"] == "127.0.0.1:1: no answer"
    assert "No mail can be delivered" in row["next"]
