"""What `relay doctor` looks at of events: destinations that do not take them, and what they refused."""

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from relay.runtime.cli import processes
from relay.runtime.cli.doctor_checks import Check
from relay.runtime.cli.site import Site
from relay.runtime.rpc import Client

NAME = "events"
LATE_SECONDS = 900.0
ANSWER_SECONDS = 20.0


def events(site: Site) -> Iterator[Check]:
    """Say which streams, buses and subscriptions are behind, or left events as dead letters."""
    if not processes.is_running(site):
        return
    with Client(site.data_dir / "run" / "events.sock", ANSWER_SECONDS) as client:
        targets = client.call("events.targets")["targets"]
    configured = {f"stream:{one.name}" for one in site.config.streams}
    configured |= {f"bus:{one.name}" for one in site.config.buses}
    wrong = [check for one in targets for check in faults_of(one, configured)]
    yield from wrong
    if not wrong:
        waiting = sum(one["waiting"] for one in targets)
        yield Check(NAME, "ok", f"{waiting} wait for {len(targets)} streams, buses and subscriptions")


def faults_of(one: Mapping[str, Any], configured: Collection[str]) -> Iterator[Check]:
    """Return what is wrong with a target, as `events.targets` tells it; subscriptions are in no configuration."""
    target, waiting = one["target"], one["waiting"]
    kind, _, name = target.partition(":")
    if waiting and kind != "subscription" and target not in configured:
        step = "Name it in the configuration again; until then what comes for it waits."
        yield Check(NAME, "warning", f"{target}: {waiting} wait, and it is not in the configuration", step)
    elif waiting and one["lagSeconds"] >= LATE_SECONDS:
        detail = f"{target}: {waiting} wait, the oldest for {one['lagSeconds'] / 60:.0f} minutes"
        yield Check(NAME, "warning", detail, "Is its consumer up? The log (`events wait`) says what it answers.")
    if one["deadLetters"]:
        group = f"topic dead-letters list {name}" if kind == "subscription" else ""
        step = group or f"event-destination dead-letters list {target}"
        yield Check(NAME, "warning", f"{target}: {one['deadLetters']} dead letters", f"relay {step}")
