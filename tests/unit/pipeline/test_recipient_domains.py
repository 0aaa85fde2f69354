"""What a look at the domains of recipients makes of answers that are no whole ones (DLV-003)."""

import asyncio

import pytest

from relay.pipeline.recipient_domains import RecipientDomains
from relay.ports import MailHosts, ResolverError
from relay.schedule.route import RouteTable


class Names:
    """DNS that says one thing of every domain."""

    def __init__(self, said):
        self.said = said

    def known_mail_hosts(self, domain):
        return None

    async def mail_hosts(self, domain, *, refresh=False):
        if isinstance(self.said, Exception):
            raise self.said
        return self.said


@pytest.mark.req("DLV-003")
@pytest.mark.parametrize(
    ("said", "refused"),
    [
        (MailHosts(nxdomain=True), "a@b.test"),
        (MailHosts(), "a@b.test"),
        (ResolverError("no answer"), ""),
        (ResolverError("no answer for AAAA", ["192.0.2.1"]), ""),
    ],
)
def test_only_what_is_certain_refuses(said, refused):
    async def asked():
        done = asyncio.get_running_loop().create_future()
        domains = RecipientDomains(lambda: Names(said), lambda: RouteTable(()), "relay.example")
        domains.check(["a@b.test"], done.set_result)
        return await asyncio.wait_for(done, 10)

    assert asyncio.run(asked()) == refused
