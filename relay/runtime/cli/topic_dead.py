"""`relay topic dead-letters`: notifications whose retries came to an end (TOPIC-137)."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from relay.runtime.cli.options import DEFAULT_ACCOUNT, AccountOption, ConfigOption, JsonOption
from relay.runtime.cli.output import iso, when, write_json, write_json_lines, write_table

if TYPE_CHECKING:
    from relay.runtime.cli.site import Site
    from relay.runtime.rpc import Client

app = typer.Typer(help="Notifications that could not be delivered; the relay has to run.", no_args_is_help=True)

TARGET = "subscription:"
SECONDS = 60.0
SHOWN_MAX_CHARS = 60
AT_ONCE = 500

WhichArgument = Annotated[
    str, typer.Argument(metavar="TOPIC|SUBSCRIPTION", help="A topic, by ARN or name, or the ARN of a subscription.")
]
IdOption = Annotated[
    list[int] | None,
    typer.Option("--id", metavar="N", help="Only this one; may be repeated.", show_default=False),
]


@app.command("list")
def list_(
    which: WhichArgument,
    *,
    account: AccountOption = DEFAULT_ACCOUNT,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """List dead letters, oldest first for each subscription; with --json their texts, too."""
    from relay.runtime.cli.site import open_site  # noqa: PLC0415

    site = open_site(config)
    with _client(site) as client:
        found = [_object(one) for one in _letters(client, _targets(site, client, which, account))]
    if as_json:
        write_json_lines(found)
        return
    write_table(
        ("Id", "Subscription", "Died", "Attempts", "Reason", "Message"),
        (
            (
                one["id"],
                one["subscriptionArn"],
                when(one["diedMs"]),
                one["attempts"],
                one["error"],
                one["message"][:SHOWN_MAX_CHARS],
            )
            for one in found
        ),
        empty="There are no dead letters.",
    )


@app.command()
def replay(
    which: WhichArgument,
    *,
    numbers: IdOption = None,
    account: AccountOption = DEFAULT_ACCOUNT,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Deliver dead letters again, as if they had never been tried."""
    _change(which, "events.replay", "Dead letters that wait again", numbers, account, config, as_json=as_json)


@app.command()
def delete(
    which: WhichArgument,
    *,
    numbers: IdOption = None,
    account: AccountOption = DEFAULT_ACCOUNT,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Delete dead letters for good."""
    _change(which, "events.delete_dead", "Deleted dead letters", numbers, account, config, as_json=as_json)


def _change(  # noqa: PLR0917 - the options of two commands
    which: str, op: str, told: str, numbers: list[int] | None, account: str, config: Any, *, as_json: bool
) -> None:
    from relay.runtime.cli.site import open_site  # noqa: PLC0415

    site = open_site(config)
    count = 0
    with _client(site) as client:
        targets = _targets(site, client, which, account)
        wanted = set(numbers) if numbers is not None else None
        # What is there now is acted on, in portions: what dies meanwhile is not meant.
        ids = [one["id"] for one in _letters(client, targets) if wanted is None or one["id"] in wanted]
        for start in range(0, len(ids), AT_ONCE):
            count += client.call(op, ids=ids[start : start + AT_ONCE])["count"]
    site.audit(op.replace("events.", "topic.dead-letters."), account, {"of": which, "count": count})
    if as_json:
        write_json({"count": count})
    else:
        typer.echo(f"{told}: {count}.")


def _client(site: "Site") -> "Client":
    from relay.runtime.rpc import Client  # noqa: PLC0415

    return Client(site.data_dir / "run" / "events.sock", SECONDS)


def _targets(site: "Site", client: "Client", which: str, account: str) -> list[str]:
    """Return the targets that a topic or a subscription stands for and that have dead letters. Raise CatalogError."""
    from relay.policy.arn import BadArn, parse_subscription_arn  # noqa: PLC0415
    from relay.runtime.topic_requests import topic_arn  # noqa: PLC0415

    if not isinstance(parse_subscription_arn(which), BadArn):
        return [f"{TARGET}{which}"]
    topic = topic_arn(which, site.config.region, account)
    states = client.call("events.targets")["targets"]
    known = [one for one in states if one["target"].startswith(f"{TARGET}{topic}:")]
    if not known:
        with site.catalog() as catalog:
            catalog.topics.require(topic.account, topic.name)
    return [one["target"] for one in known if one["deadLetters"]]


def _letters(client: "Client", targets: list[str]) -> Iterator[dict[str, Any]]:
    for target in targets:
        after = 0
        while True:
            page = client.call("events.dead_letters", target=target, after=after)
            yield from page["items"]
            if not page["items"] or page["next"] is None:
                break
            after = page["next"]


def _object(letter: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": letter["id"],
        "subscriptionArn": letter["target"].removeprefix(TARGET),
        "messageId": letter["key"],
        "attempts": letter["attempts"],
        "error": letter["error"],
        "created": iso(letter["createdMs"]),
        "died": iso(letter["diedMs"]),
        "diedMs": letter["diedMs"],
        "message": letter["body"],
    }
