"""Which processes of a relay answer right now."""

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from relay.runtime.cli.site import Site

PING_SECONDS = 5.0
PID_MAX_CHARACTERS = 20


def is_running(site: "Site") -> bool:
    """Say whether any process of the relay answers."""
    from relay.runtime.rpc import Client, NotRunningError  # noqa: PLC0415

    for path in sorted((site.data_dir / "run").glob("*.sock")):
        try:
            Client(path, PING_SECONDS).close()
        except NotRunningError:
            continue
        return True
    return False


def ping(site: "Site", name: str) -> dict[str, Any] | None:
    """Return what a process says about itself, None when it does not answer in five seconds."""
    from relay.errors import RelayError  # noqa: PLC0415
    from relay.runtime.rpc import Client  # noqa: PLC0415

    try:
        with Client(site.data_dir / "run" / f"{name}.sock", PING_SECONDS) as client:
            return dict(client.call("ping"))
    except RelayError:
        return None


def cores(site: "Site") -> int:
    """Return how many cores `workers: auto` counts: those that the relay may use, which a service may be denied."""
    try:
        with (site.data_dir / "run" / "supervisor.pid").open() as file:
            return len(os.sched_getaffinity(int(file.read(PID_MAX_CHARACTERS))))
    except (OSError, ValueError, OverflowError):
        return len(os.sched_getaffinity(0))
