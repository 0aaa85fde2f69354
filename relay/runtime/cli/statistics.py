"""`relay statistics`: what was sent and what became of it, by time or by what it was about (STAT-001 to STAT-006)."""

import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from relay.errors import UsageError
from relay.runtime.cli.options import ConfigOption, JsonOption
from relay.runtime.cli.output import iso, write_json, write_json_lines, write_table

if TYPE_CHECKING:
    from relay.store.statistics import Point, StatisticsReader

DAY_SECONDS = 86_400
_EVERY = {"15m": 900, "1h": 3600, "1d": DAY_SECONDS}
_BY = ("account", "set", "identity", "provider", "pool")
_COLUMNS = ("Sends", "Delivered", "Delays", "Hard bounces", "Soft bounces", "Complaints", "Rejects", "Suppressed")


def _only(what: str) -> Any:
    return typer.Option(f"--{what}", metavar="NAME", help=f"Only mail of this {what}.", show_default=False)


def statistics(
    *,
    account: Annotated[
        str | None, typer.Option("--account", metavar="ID", help="Only this account.", show_default=False)
    ] = None,
    configuration_set: Annotated[str | None, _only("set")] = None,
    identity: Annotated[str | None, _only("identity")] = None,
    provider: Annotated[str | None, _only("provider")] = None,
    pool: Annotated[str | None, _only("pool")] = None,
    by: Annotated[
        str | None,
        typer.Option("--by", metavar="WHAT", help=f"Sums by {', '.join(_BY)} instead of times.", show_default=False),
    ] = None,
    since: Annotated[
        str | None,
        typer.Option(metavar="DURATION", help="From how long ago on [1d; 14d with --json].", show_default=False),
    ] = None,
    every: Annotated[
        str | None, typer.Option(help="15m, 1h or 1d [1h; 15m with --json].", show_default=False)
    ] = None,
    details: Annotated[bool, typer.Option("--details", help="With --json: every count, one point a line.")] = False,
    rates: Annotated[bool, typer.Option("--rates", help="Rates of sends, with the goals marked.")] = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what was sent and what became of it, by recipient.

    With --json it is the answer of GetSendStatistics: 14 days in points of 15 minutes; bounces are hard ones.
    Times before 14 days ago are there by the hour, older ones by the day. At providers and pools, mail is counted as
    sent when its first attempt to end was made there. With --rates it is rates by the hour, for programs too.
    """
    from relay.reputation.counting import Dimension  # noqa: PLC0415
    from relay.runtime.cli.site import open_site  # noqa: PLC0415
    from relay.store.statistics import StatisticsReader  # noqa: PLC0415

    named = {
        Dimension.CONFIGURATION_SET: configuration_set,
        Dimension.IDENTITY: identity,
        Dimension.PROVIDER: provider,
        Dimension.POOL: pool,
    }
    given = [(dimension, name) for dimension, name in named.items() if name is not None]
    if len(given) + (by is not None) > 1:
        raise UsageError("Give one of --set, --identity, --provider, --pool and --by: each is counted by itself.")
    as_api = as_json and not rates
    grain = _grain(every or ("15m" if as_api else "1h"))
    now_ms = time.time_ns() // 1_000_000
    since_ms = now_ms - _span_ms(since or ("14d" if as_api else "1d"))
    site = open_site(config)
    reader = StatisticsReader(site.data_dir)
    try:
        if by is not None:
            _sums(reader, by, account, since_ms, now_ms, as_json=as_json, rates=rates)
            return
        dimension, name = given[0] if given else (Dimension.ACCOUNT, None)
        points = series(reader, dimension, since_ms, now_ms, grain, account=account, name=name)
    finally:
        reader.close()
    if rates:
        _rates(
            [({"timestamp": iso(one.start_ms)}, _start(one, grain), one.counts) for one in points], as_json=as_json
        )
    elif as_json and details:
        write_json_lines({"timestamp": iso(point.start_ms), **counts_object(point.counts)} for point in points)
    elif as_json:
        write_json({"SendDataPoints": [data_point(point) for point in points]})
    else:
        _table(points, grain)


def series(
    reader: "StatisticsReader",
    dimension: Any,
    since_ms: int,
    until_ms: int,
    every: int,
    *,
    account: str | None = None,
    name: str | None = None,
) -> "list[Point]":
    """Return points of `every` seconds, whatever grain they are kept in; older ones are coarser where they must."""
    from relay.store.statistics import GRAINS, Point  # noqa: PLC0415

    found: dict[int, dict[Any, int]] = {}
    for grain in GRAINS:
        begin_ms = since_ms - since_ms % (grain * 1000)
        for point in reader.points(dimension, begin_ms, until_ms, grain, account=account, name=name):
            start_ms = point.start_ms - point.start_ms % (every * 1000)
            sums = found.setdefault(start_ms, dict.fromkeys(point.counts, 0))
            for count, amount in point.counts.items():
                sums[count] += amount
    return [Point(start_ms, counts) for start_ms, counts in sorted(found.items())]


def data_point(point: "Point") -> dict[str, Any]:
    """Return a point in the shape of GetSendStatistics (STAT-001)."""
    counts = point.counts
    return {
        "Timestamp": iso(point.start_ms),
        "DeliveryAttempts": _count(counts, "sends"),
        "Bounces": _count(counts, "hard_bounces"),
        "Complaints": _count(counts, "complaints"),
        "Rejects": _count(counts, "rejects"),
    }


def counts_object(counts: Any) -> dict[str, int]:
    """Return all counts for programs."""
    return {_camel(count.value): amount for count, amount in counts.items()}


def _camel(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(map(str.title, others))


def _count(counts: Any, name: str) -> int:
    return int(next(amount for count, amount in counts.items() if count.value == name))


def _cells(counts: Any) -> tuple[int, ...]:
    names = ("sends", "deliveries", "delays", "hard_bounces", "soft_bounces", "complaints", "rejects", "suppressed")
    return tuple(_count(counts, name) for name in names)


def _table(points: "list[Point]", grain: int) -> None:
    rows: list[tuple[object, ...]] = [(_start(point, grain), *_cells(point.counts)) for point in points]
    if points:
        sums = [sum(column) for column in zip(*(_cells(point.counts) for point in points), strict=True)]
        rows.append(("all", *sums))
    write_table(("From", *_COLUMNS), rows, empty="Nothing was sent in this time.")
    if points and sums[0]:
        typer.echo(
            f"Of {sums[0]} sends: rejects {sums[6] / sums[0]:.2%}, hard bounces {sums[3] / sums[0]:.2%}, complaints "
            f"{sums[5] / sums[0]:.3%}. The rates that count are those of `relay reputation show`."
        )


def _start(point: "Point", grain: int) -> str:
    from datetime import UTC, datetime  # noqa: PLC0415

    shape = "%Y-%m-%d" if grain == DAY_SECONDS else "%Y-%m-%d %H:%M"
    return f"{datetime.fromtimestamp(point.start_ms / 1000, UTC).astimezone():{shape}}"


def rates_object(counts: Any) -> dict[str, Any]:
    """Return counts as rates of sends (None without any), and which of them do not meet their goal (STAT-008)."""
    from relay.reputation.rates import BOUNCE_GOAL, COMPLAINT_GOAL  # noqa: PLC0415

    sends = _count(counts, "sends")
    names = {"rejectRate": "rejects", "bounceRate": "hard_bounces", "complaintRate": "complaints"}
    found = {name: _count(counts, count) / sends if sends else None for name, count in names.items()}
    goals = {"bounceRate": BOUNCE_GOAL, "complaintRate": COMPLAINT_GOAL}
    missed = [name for name, goal in goals.items() if (found[name] or 0.0) >= goal]
    return {"sends": sends, **found, "goalsMissed": missed}


def _rates(rows: list[tuple[dict[str, Any], str, Any]], *, as_json: bool, first: str = "From") -> None:
    """Write rates: of each row what it is about, for programs and for people, and its counts."""
    from relay.reputation.rates import BOUNCE_ADVICE, BOUNCE_GOAL, COMPLAINT_GOAL  # noqa: PLC0415

    found = [(about, name, rates_object(counts)) for about, name, counts in rows]
    if as_json:
        write_json_lines({**about, **rates} for about, _name, rates in found)
        return

    def shown(rates: dict[str, Any], name: str, shape: str) -> str:
        text = "-" if rates[name] is None else format(rates[name], shape)
        return f"{text} !" if name in rates["goalsMissed"] else text

    write_table(
        (first, "Sends", "Rejects", "Hard bounces", "Complaints"),
        (
            (
                name,
                rates["sends"],
                shown(rates, "rejectRate", ".2%"),
                shown(rates, "bounceRate", ".2%"),
                shown(rates, "complaintRate", ".3%"),
            )
            for _about, name, rates in found
        ),
        empty="Nothing was sent in this time.",
    )
    if found:
        typer.echo(
            f"Goals (! where missed): hard bounces below {BOUNCE_GOAL:.0%}, better below {BOUNCE_ADVICE:.0%}; "
            f"complaints below {COMPLAINT_GOAL:.1%}."
        )


def _sums(
    reader: "StatisticsReader",
    by: str,
    account: str | None,
    since_ms: int,
    until_ms: int,
    *,
    as_json: bool,
    rates: bool,
) -> None:
    from relay.reputation.counting import Dimension  # noqa: PLC0415

    if by not in _BY:
        raise UsageError(f"Sums are by {', '.join(_BY)}, not by {by}.")
    begin_ms = since_ms - since_ms % (900 * 1000)
    totals = reader.totals(Dimension(by), begin_ms, until_ms, account=account)
    if rates:
        about = [
            ({"account": one.account, by: one.name or None}, f"{one.account} {one.name}".strip()) for one in totals
        ]
        if by == "account":
            about = [({"account": one.account}, one.account) for one in totals]
        rows = [(*told, one.counts) for told, one in zip(about, totals, strict=True)]
        _rates(rows, as_json=as_json, first=by.capitalize())
        return
    if as_json:
        write_json_lines(
            {"account": one.account, by: one.name or None, **counts_object(one.counts)} for one in totals
        )
        return
    what = () if by == "account" else (by.capitalize(),)
    write_table(
        ("Account", *what, *_COLUMNS),
        ((one.account, *((one.name,) if what else ()), *_cells(one.counts)) for one in totals),
        empty="Nothing was sent in this time.",
    )


def _grain(text: str) -> int:
    if text not in _EVERY:
        raise UsageError(f"Points are of {', '.join(_EVERY)}, not of {text}.")
    return _EVERY[text]


def _span_ms(text: str) -> int:
    from relay.runtime.config.values import parse_duration  # noqa: PLC0415

    try:
        return int(parse_duration(text) * 1000)
    except ValueError as error:
        raise UsageError(f"--since {error}.") from error
