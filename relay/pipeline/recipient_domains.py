"""Whether the domains of recipients can take mail at all, asked before a message is accepted (DLV-003).

An account may want to hear at once that an address cannot work, instead of by a bounce. Only what DNS says for
certain counts: a domain that does not exist, has neither mail exchanger nor address, or takes no mail (RFC 7505).
Without an answer in three seconds the address is taken, as without this check.
"""

import asyncio
from collections.abc import Callable, Sequence

from relay.policy.simulator import is_simulator_address
from relay.ports import MailHosts, Resolver, ResolverError
from relay.schedule.route import RouteTable, literal_address, unroutable

CHECK_SECONDS = 3.0
DOMAINS_MAX = 100  # of one message; more are taken unasked
CHECKS_MAX = 200  # at a time; more are taken unasked, so that nobody waits for a slow name server in a crowd

Done = Callable[[str], None]
"""Takes the first recipient that cannot work, "" when all may."""


class RecipientDomains:
    """Asks for the domains of one message at a time, all at once."""

    def __init__(self, resolver: Callable[[], Resolver], routes: Callable[[], RouteTable], hostname: str) -> None:
        self._resolver = resolver
        self._routes = routes
        self._hostname = hostname
        self._tasks: set[asyncio.Task[None]] = set()

    def check(self, recipients: Sequence[str], done: Done) -> None:
        """Tell `done`, from inside the call when the answers are known."""
        resolver = self._resolver()
        asked: dict[str, str] = {}
        for recipient in recipients:
            domain = recipient.rpartition("@")[2].lower()
            if domain in asked or self._exempt(recipient, domain):
                continue
            known = resolver.known_mail_hosts(domain)
            if unroutable(domain) or (known is not None and cannot(known)):
                done(recipient)
                return
            if known is None and len(asked) < DOMAINS_MAX:
                asked[domain] = recipient
        if not asked or len(self._tasks) >= CHECKS_MAX:
            done("")
            return
        task = asyncio.get_running_loop().create_task(self._ask(resolver, asked, done))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _exempt(self, recipient: str, domain: str) -> bool:
        if literal_address(domain) or is_simulator_address(recipient, self._hostname):
            return True
        return self._routes().find(domain) is not None

    async def _ask(self, resolver: Resolver, asked: dict[str, str], done: Done) -> None:
        tasks = {asyncio.create_task(_cannot(resolver, domain)): address for domain, address in asked.items()}
        finished, late = await asyncio.wait(tasks, timeout=CHECK_SECONDS)
        for task in late:
            task.cancel()
        done(next((address for task, address in tasks.items() if task in finished and task.result()), ""))


async def _cannot(resolver: Resolver, domain: str) -> bool:
    try:
        return cannot(await resolver.mail_hosts(domain))
    except ResolverError:  # half an answer, too: what was not answered may be an address
        return False


def cannot(hosts: MailHosts) -> bool:
    """Say whether DNS says for certain that a domain takes no mail."""
    return hosts.nxdomain or hosts.null_mx or not hosts.hosts
