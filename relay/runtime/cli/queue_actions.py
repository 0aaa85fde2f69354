"""What an operator may do to deliveries: by the workers while the relay runs, here while it is stopped."""

from typing import TYPE_CHECKING, Any

from relay.errors import TemporaryError
from relay.model.delivery import OPEN_STATES, DeliveryState
from relay.runtime.rpc import Client, NotRunningError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from relay.runtime.cli.shards import Choice, Shard
    from relay.runtime.cli.site import Site

ACTION_SECONDS = 600.0
APPLIES_TO = {
    "retry": frozenset({DeliveryState.QUEUED}),
    "hold": frozenset({DeliveryState.QUEUED}),
    "release": frozenset({DeliveryState.HELD, DeliveryState.QUARANTINED}),
    "delete": OPEN_STATES,
}


def act(site: "Site", shards: "Sequence[Shard]", action: str, choices: "Sequence[Choice]") -> int:
    """Do `action` (retry, hold, release, delete) to the chosen deliveries; return how many it changed.

    TemporaryError when a part of a running relay does not answer: nothing of its shard was changed then.
    """
    workers = _workers(site)
    if workers:
        return sum(_ask(worker, action, choice) for worker in workers for choice in choices)
    from relay.runtime.cli.queue_offline import act_offline  # noqa: PLC0415

    return act_offline(site, shards, action, choices)


def _workers(site: "Site") -> list[Client]:
    """Return a connection to every worker, none when the relay is stopped."""
    found: list[Client] = []
    silent = ""
    for path in sorted((site.data_dir / "run").glob("worker-*.sock")):
        try:
            found.append(Client(path, ACTION_SECONDS))
        except NotRunningError:
            silent = path.stem
    if found and silent:
        raise TemporaryError(f"{silent} gives no answer, though the relay runs; try again in a moment.")
    return found


def _ask(worker: Client, action: str, choice: "Choice") -> int:
    states = sorted(choice.states & APPLIES_TO[action])
    count = 0
    for state in states:
        named = {"state": str(state), "domain": choice.domain, "message_id": choice.message_id}
        arguments: dict[str, Any] = {name: value for name, value in named.items() if value}
        count += int(worker.call("queue.act", action=action, **arguments)["count"])
    return count
