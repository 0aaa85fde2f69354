"""What an operator may do to deliveries: by the shard's worker, or here when no relay runs."""

from typing import TYPE_CHECKING, Any

from relay.model.delivery import OPEN_STATES

if TYPE_CHECKING:
    from relay.runtime.cli.shards import Choice, Shard
    from relay.runtime.cli.site import Site

ACTION_SECONDS = 600.0


def act(site: "Site", shard: "Shard", action: str, choice: "Choice") -> int:
    """Do `action` (retry, hold, release, delete) to the deliveries of a shard; return how many it changed.

    The worker does it while the relay runs. When nobody answers, this command owns the shard for the time it takes:
    its lock keeps a relay that starts meanwhile waiting.
    """
    from relay.runtime.cli.queue_offline import act_offline  # noqa: PLC0415
    from relay.runtime.rpc import Client, NotRunningError  # noqa: PLC0415

    try:
        client = Client(site.data_dir / "run" / f"worker-{shard.name}.sock", ACTION_SECONDS)
    except NotRunningError:
        return act_offline(shard, action, choice)
    with client as worker:
        answer = worker.call("queue.act", action=action, **_arguments(choice))
    return int(answer["count"])


def _arguments(choice: "Choice") -> dict[str, Any]:
    states = [None] if choice.states == OPEN_STATES else sorted(choice.states)
    named = {"state": states[0], "domain": choice.domain, "message_id": choice.message_id}
    return {name: str(value) for name, value in named.items() if value}
