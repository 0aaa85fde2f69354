"""What the processes that tests fork have in memory already: the whole product, left alone by the collector.

Imported in the fork server of `tests.commands`, as the last of its modules; nobody else needs it.
"""

from relay.runtime.children import BODIES, find_body
from relay.runtime.supervisor_start import preload

COMMANDS = (
    "relay.runtime.cli.app",
    "relay.runtime.cli.identity_dns",
    "relay.runtime.cli.site",
    "relay.runtime.config.load",
    "relay.runtime.identity_look",
    "relay.runtime.settings",
    "relay.runtime.setup",
    "relay.runtime.supervisor",
    "relay.store.catalog",
    "relay.store.directory",
    "relay.store.reader",
    "rich.table",
    "tests.commands",
)

for body in BODIES.values():
    find_body(body)
preload(COMMANDS)
