"""Recipients whose domain takes no mail are refused at once, for accounts that want it (DLV-003)."""

import pytest

from tests.nameserver import NameServer
from tests.product import Product, Receiver, eventually

ZONES = {
    "example": """@ 1 IN NS ns
good 1 IN MX 10 mx.good
mx.good 1 IN A 127.0.0.1
address 1 IN A 127.0.0.1
null 1 IN MX 0 .
empty 1 IN TXT nothing
""",
}


@pytest.fixture(scope="module")
def names(tmp_path_factory):
    with NameServer(tmp_path_factory.mktemp("zones"), ZONES) as server:
        yield server


@pytest.fixture(scope="module")
def receiver():
    with Receiver() as made:
        yield made


@pytest.fixture(scope="module")
def relay(names, receiver):
    settings = {
        "dns": {"nameservers": [names.address], "timeout": "2s"},
        "delivery": {"port": receiver.port, "allow_private_destinations": True},
        "routes": [{"domain": "routed.invalid", "smarthost": f"127.0.0.1:{receiver.port}"}],
    }
    with Product(**settings) as product:
        yield product


@pytest.fixture
def checked(relay):
    relay.run("account", "recipient-check", relay.account, "on")
    yield relay
    relay.run("account", "recipient-check", relay.account, "off")


def refusal(relay, *recipients):
    with pytest.raises(AssertionError) as refused:
        relay.send(list(recipients))
    return str(refused.value)


@pytest.mark.req("DLV-003")
@pytest.mark.parametrize("domain", ["missing.example", "null.example", "empty.example", "localhost"])
def test_a_domain_that_takes_no_mail_is_refused(checked, receiver, domain):
    assert f"(553, b'<bob@{domain}> address unknown')" in refusal(checked, "ann@good.example", f"bob@{domain}")
    assert not any(f"bob@{domain}" in message[1] for message in receiver.messages)


@pytest.mark.req("DLV-003")
def test_what_can_work_or_cannot_be_known_is_accepted(checked, receiver):
    checked.send(["a@good.example", "b@address.example", "c@routed.invalid"])
    eventually(lambda: {"b@address.example", "c@routed.invalid"} <= {m[1][0] for m in receiver.messages if m[1]})
    assert checked.send(["d@unanswered.test"])  # the name server refuses to say


@pytest.mark.req("DLV-003")
def test_without_the_check_it_is_accepted_as_before(relay):
    assert relay.json("account", "show", relay.account)["recipientCheck"] is False
    assert relay.send(["bob@null.example"])
