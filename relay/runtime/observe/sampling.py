"""Reading the counters of other processes over their sockets."""

from pathlib import Path

from relay.errors import RelayError
from relay.ports import Json
from relay.runtime.observe.aggregate import Aggregate, Sample
from relay.runtime.rpc import ask

ASK_SECONDS = 2.0


async def sample(run_dir: Path, name: str, aggregate: Aggregate) -> None:
    """Take a snapshot of a process into an aggregate, or note that it gave none."""
    try:
        snapshot: Json = await ask(run_dir / f"{name}.sock", "metrics.snapshot", ASK_SECONDS)
        aggregate.take(name, Sample(snapshot))
    except (RelayError, ValueError):
        aggregate.silent(name)
