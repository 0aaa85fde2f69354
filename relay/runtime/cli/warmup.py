"""`relay warmup`: addresses that come to their full volume step by step (WARM-002 to 009)."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from relay.errors import NotFoundError, TemporaryError, UsageError
from relay.runtime.cli.options import DEFAULT_ACCOUNT, AccountOption, ConfigOption, JsonOption
from relay.runtime.cli.output import iso, note, write_fields, write_json, write_json_lines, write_table

if TYPE_CHECKING:
    from relay.model.pool import SourceAddress
    from relay.runtime.cli.site import Site

app = typer.Typer(help="Warm-up of source addresses: how far they are, and what they may send.", no_args_is_help=True)

AddressArgument = Annotated[str, typer.Argument(metavar="ADDRESS", help="A source address.")]
_COUNTS = ("used", "attempts", "bounces", "blocks", "complaints")
ADVICE = (
    "After the warm-up, send about 1,000 messages a day to each provider from each address to keep its reputation, "
    "and raise the volume slowly: a sudden jump gets mail blocked."
)


@app.command("list")
def list_(
    *,
    everything: Annotated[bool, typer.Option("--all", help="Also addresses that are warm.")] = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """List addresses that warm up: status, percentage, today's volume and what is used of it."""
    from relay.runtime.cli.site import open_site  # noqa: PLC0415

    site = open_site(config)
    with site.catalog() as catalog:
        addresses = catalog.addresses.list()
    view = _View(site)
    rows = [row for one in addresses if (row := view.of(one))["status"] == "IN_PROGRESS" or everything]
    if as_json:
        write_json_lines(rows)
        return
    write_table(
        ("Address", "Pool", "Status", "%", "Day", "Today", "Used", "Held"),
        (
            (
                row["address"],
                row["pool"] or "-",
                row["status"],
                row["percentage"],
                row["day"] or "-",
                "no limit" if row["volume"] is None else row["volume"],
                row["used"],
                f"{row['heldDays']} days" if row["heldDays"] else "-",
            )
            for row in rows
        ),
        empty="No address warms up. Start one with `relay warmup start ADDRESS`.",
    )


@app.command()
def show(address: AddressArgument, *, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Show the warm-up of an address, by provider."""
    from relay.runtime.cli.site import open_site  # noqa: PLC0415

    site = open_site(config)
    with site.catalog() as catalog:
        known = catalog.addresses.require(address)
    view = _View(site)
    _write(view, known, as_json=as_json)
    if not as_json:
        note(ADVICE)


@app.command()
def start(address: AddressArgument, *, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Warm an address up by its age: from the first day on, or on from the percentage that it was set to."""

    def change(site: "Site", known: "SourceAddress") -> tuple[str, dict[str, int]]:
        from relay.runtime.settings import warmup_rules  # noqa: PLC0415
        from relay.schedule.warmup import DAY_MS  # noqa: PLC0415

        days = warmup_rules(site.config).schedule(known.address).days
        percent = known.warmup_percent if known.warmup == "percent" else 0
        return "auto", {"started_ms": _now_ms() - percent * days // 100 * DAY_MS}

    _change(config, "warmup.start", address, change, as_json=as_json)


@app.command()
def pause(address: AddressArgument, *, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Keep an address at today's percentage until it is started again."""

    def change(site: "Site", known: "SourceAddress") -> tuple[str, dict[str, int]]:
        row = _View(site).of(known)
        if row["status"] != "IN_PROGRESS":
            raise UsageError(f"{known.address} does not warm up; `relay warmup start {known.address}` begins.")
        return "percent", {"percent": max(1, row["percentage"])}

    _change(config, "warmup.pause", address, change, as_json=as_json)


@app.command()
def reset(address: AddressArgument, *, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Set an address to 0 %: nothing leaves from it until it is started or given a percentage."""
    _change(config, "warmup.reset", address, lambda _site, _known: ("percent", {"percent": 0}), as_json=as_json)


@app.command()
def complete(address: AddressArgument, *, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """End the warm-up of an address: it is warm from now on, without a limit of volume."""
    _change(config, "warmup.complete", address, lambda _site, _known: ("off", {}), as_json=as_json)


@app.command()
def release(address: AddressArgument, *, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Give an address back the days that receivers' complaints took off its schedule.

    It is judged by what they answer from now on.
    """
    from relay.runtime.cli.site import open_site  # noqa: PLC0415

    site = open_site(config)
    with site.catalog() as catalog:
        known = catalog.addresses.require(address)
    held = _View(site).of(known)["heldDays"]
    if not held:
        raise UsageError(f"Nothing holds the warm-up of {known.address}.")
    _release(site, known.address)
    site.audit("warmup.release", known.account, {"address": known.address, "days": held})
    _write(_View(site), known, as_json=as_json)


@app.command("set-percent")
def set_percent(
    address: AddressArgument,
    percent: Annotated[int, typer.Argument(min=0, max=100, help="0 to 100.")],
    *,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Set how far an address is; it stays there until it is started."""
    _change(
        config,
        "warmup.set-percent",
        address,
        lambda _site, _known: ("percent", {"percent": percent}),
        as_json=as_json,
    )


@app.command()
def schedule(
    name: Annotated[str, typer.Argument(help="A schedule of the configuration [that of most addresses].")] = "",
    *,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what a schedule allows on each day, altogether and for each provider."""
    from relay.runtime.cli.site import open_site  # noqa: PLC0415
    from relay.runtime.settings import warmup_rules  # noqa: PLC0415

    rules = warmup_rules(open_site(config).config)
    found = rules.schedules.get(name or rules.schedule_default)
    if found is None:
        raise NotFoundError(f"There is no schedule {name}; the configuration has {', '.join(rules.schedules)}.")
    days = [
        {"day": day, "volume": volume, "providers": {group: rules.share(group, volume) for group in rules.shares}}
        for day, volume in enumerate(found.volumes, 1)
    ]
    if as_json:
        write_json_lines(days)
        return
    write_table(
        ("Day", "Volume", *rules.shares),
        ((row["day"], row["volume"], *row["providers"].values()) for row in days),  # type: ignore[attr-defined]
        empty="",
    )


@app.command()
def auto(
    word: Annotated[str, typer.Argument(metavar="[on|off]", help="What to set; nothing: shows what is set.")] = "",
    *,
    account: AccountOption = DEFAULT_ACCOUNT,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Let addresses that come to an account warm up by themselves (on, as at first), or be warm from the start.

    Those that warm up already go on.
    """
    from relay.runtime.cli.site import open_site  # noqa: PLC0415

    if word not in {"", "on", "off"}:
        raise UsageError(f"Say `on` or `off`, not {word[:80]!r}.")
    site = open_site(config)
    with site.catalog() as catalog:
        catalog.accounts.require(account)
        if word:
            catalog.pools.assign_account(account, auto_warmup=word == "on")
        kept = catalog.pools.sending(account)
    told = {"account": account, "autoWarmupEnabled": kept.auto_warmup}
    if word:
        site.audit("warmup.auto", account, told)
    if as_json:
        write_json(told)
    else:
        typer.echo(f"Automatic warm-up of account {account} is {'on' if kept.auto_warmup else 'off'}.")


class _View:
    """Addresses with their schedule, and what permits counted today."""

    def __init__(self, site: "Site") -> None:
        from relay.runtime.settings import warmup_rules  # noqa: PLC0415

        self.rules = warmup_rules(site.config)
        self.known = True
        try:
            found = _ask(site, "warmup.today")
        except TemporaryError:
            found, self.known = _from_file(site), False
        self.volumes = found["volumes"]
        self.holds = {one["address"]: one for one in found["holds"]}
        self.levels = {(one["address"], one["provider"]): one for one in found["levels"]}

    def of(self, one: "SourceAddress") -> dict[str, Any]:
        """Return the warm-up of an address for programs."""
        from relay.schedule.warmup import Mode, WarmUpState, percent, schedule_day, status  # noqa: PLC0415

        state = WarmUpState(Mode(str(one.warmup)), one.warmup_started_ms, one.warmup_percent)
        plan, now_ms = self.rules.schedule(one.address), _now_ms()
        hold = self.holds.get(one.address, {"days": 0, "reason": ""})
        day = schedule_day(plan, state, now_ms, hold["days"])
        managed, done = one.managed, day > plan.days
        volume = None if done or managed else plan.allowed(day) if day else 0
        used = [row for row in self.volumes if row["address"] == one.address]
        return {
            "address": one.address,
            "pool": one.pool_name or None,
            "status": "NOT_APPLICABLE" if managed else str(status(plan, state, now_ms, hold["days"])),
            "percentage": -1 if managed else percent(plan, state, now_ms, hold["days"]),
            "mode": str(one.warmup),
            "schedule": plan.name,
            "started": iso(one.warmup_started_ms),
            "day": None if done or not day else day,
            "volume": volume,
            "used": sum(row["used"] for row in used),
            "heldDays": hold["days"],
            "heldBecause": hold["reason"] or None,
            "providers": [
                {
                    "provider": group,
                    **(
                        self._managed(one, group, hold["days"])
                        if managed
                        else {"volume": None if volume is None else self.rules.share(group, volume)}
                    ),
                    **_sums([row for row in used if row["provider"] == group]),
                }
                for group in self.rules.shares
            ],
        }

    def _managed(self, one: "SourceAddress", group: str, held_days: int) -> dict[str, int | None]:
        """Return how far a managed address is with a provider, and what it may send there today (POOL-014)."""
        plan, known = self.rules.schedule(one.address), self.levels.get((one.address, group))
        mine = known is not None and known["startedMs"] == one.warmup_started_ms
        level = max(1, known["level"] - held_days) if known and mine else 1
        volume = None if level > plan.days else self.rules.share(group, plan.allowed(level))
        return {"level": level, "volume": volume}


def _sums(rows: Sequence[dict[str, Any]]) -> dict[str, int]:
    return {name: sum(row[name] for row in rows) for name in _COUNTS}


def _write(view: _View, known: "SourceAddress", *, as_json: bool) -> None:
    row = view.of(known)
    if as_json:
        write_json(row)
        return
    fields = {key: row[key] for key in ("address", "pool", "status", "percentage", "schedule", "started", "day")}
    whole = "by provider, as below" if known.managed else "no limit"
    fields["today"] = whole if row["volume"] is None else f"{row['used']} of {row['volume']}"
    fields["held"] = f"{row['heldDays']} days: {row['heldBecause']}" if row["heldDays"] else "-"
    write_fields({key: "-" if value is None else value for key, value in fields.items()})
    typer.echo()
    write_table(
        ("Provider", "Level", "Today", "Used", "Attempts", "Bounces", "Blocks", "Complaints"),
        (
            (
                one["provider"],
                one.get("level", "-"),
                "no limit" if one["volume"] is None else one["volume"],
                *(one[name] for name in _COUNTS),
            )
            for one in row["providers"]
        ),
        empty="",
    )


def _change(
    config: Path | None,
    operation: str,
    address: str,
    change: Callable[["Site", "SourceAddress"], tuple[str, dict[str, int]]],
    *,
    as_json: bool,
) -> None:
    """Set the warm-up of an address anew, and end what holds it back."""
    from relay.model.pool import WarmUp  # noqa: PLC0415
    from relay.runtime.cli.site import open_site  # noqa: PLC0415

    site = open_site(config)
    with site.catalog() as catalog:
        known = catalog.addresses.require(address)
        if known.managed:
            raise UsageError(f"{known.address} is in a managed pool, which warms its addresses up by itself.")
        mode, values = change(site, known)
        changed = catalog.addresses.warm_up(known.address, WarmUp(mode), **values)
    _release(site, changed.address)
    site.audit(operation, changed.account, {"address": changed.address, "mode": mode, **values})
    _write(_View(site), changed, as_json=as_json)


def _release(site: "Site", address: str) -> None:
    """Let permits forget a hold; while the relay is stopped, its file does."""
    from relay.runtime.permits.warmup import release_writes  # noqa: PLC0415

    try:
        _ask(site, "warmup.release", address=address)
    except TemporaryError:
        file = _file(site)
        if file is not None:
            file.write(release_writes(address))
            file.close()


def _ask(site: "Site", op: str, **arguments: object) -> Any:
    from relay.runtime.children import Role, child_name  # noqa: PLC0415
    from relay.runtime.rpc import Client  # noqa: PLC0415

    with Client(site.data_dir / "run" / f"{child_name(Role.PERMITS, 0)}.sock") as client:
        return client.call(op, **arguments)


def _file(site: "Site") -> Any:
    from relay.runtime.permits.body import FILE  # noqa: PLC0415
    from relay.store.permits_file import PermitsFile  # noqa: PLC0415

    path = site.data_dir / FILE
    return PermitsFile(path, _NoLog()) if path.exists() else None


class _NoLog:
    """Nobody reads it: what is damaged, the next start says."""

    def debug(self, event: str, **fields: object) -> None:
        """Say nothing."""

    info = warning = error = debug


def _from_file(site: "Site") -> dict[str, Any]:
    """Return what the file of a stopped permits says."""
    from relay.schedule.warmup import day_of  # noqa: PLC0415

    file = _file(site)
    if file is None:
        return {"volumes": [], "holds": [], "levels": []}
    today = day_of(_now_ms())
    names = ("address", "provider", *_COUNTS)
    volumes = [dict(zip(names, row[1:], strict=True)) for row in file.read("volumes") if row[0] == today]
    holds = [{"address": row[0], "days": row[1], "reason": row[3]} for row in file.read("holds")]
    levels = [
        {"address": row[0], "provider": row[1], "level": row[2], "startedMs": row[4]} for row in file.read("levels")
    ]
    file.close()
    return {"volumes": volumes, "holds": holds, "levels": levels}


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
