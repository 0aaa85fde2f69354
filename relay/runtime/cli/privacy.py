"""`relay privacy`: what the relay knows about an address, and how it forgets that (PRIV-004 to PRIV-007)."""

from typing import TYPE_CHECKING, Annotated

import typer

from relay.errors import UsageError
from relay.runtime.cli.options import ConfigOption, JsonOption, confirm
from relay.runtime.cli.output import note, working, write_fields, write_json, write_json_lines, write_table

if TYPE_CHECKING:
    from relay.runtime.cli.site import Site
    from relay.runtime.config.publishing import Stream
    from relay.runtime.privacy import Erased

app = typer.Typer(help="Personal data: give out or erase what is known about an address.", no_args_is_help=True)

AddressArgument = Annotated[str, typer.Argument(metavar="ADDRESS", help="The email address.")]


@app.command()
def export(address: AddressArgument, *, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Write everything that mentions an address: place and record, or the number of records by place."""
    from collections import Counter  # noqa: PLC0415

    from relay.runtime.cli.site import open_site  # noqa: PLC0415
    from relay.runtime.privacy import Places  # noqa: PLC0415

    site = open_site(config)
    places = Places(site, address)
    for stream in site.config.streams:
        if stream.type != "directory":
            note(f"Not searched: stream {stream.name}, which stores outside this machine.")
    if as_json:
        write_json_lines({"place": place, "record": record} for place, record in places.found())
        return
    counts = Counter(place for place, _ in places.found())
    write_table(("Place", "Records"), sorted(counts.items()), empty=f"Nothing mentions {places.address}.")
    if counts:
        note("--json writes the records.")


@app.command()
def erase(
    address: AddressArgument,
    *,
    queued: Annotated[
        str, typer.Option(help="Mail to it that waits: refuse to erase, delete it, or bounce it to its sender.")
    ] = "refuse",
    configuration: Annotated[
        bool,
        typer.Option("--configuration", help="Also identities, contacts, policies and templates that name it."),
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Erase an address from everything that the relay keeps, and tell how many records that were, by place.

    What is left is named with what to do about it; where that are records of the relay, the exit code is 75. Files
    are written anew, so that nothing stays in their free pages: a queue takes no mail while its file is rewritten.
    """
    from relay.runtime.cli.queue_actions import owner  # noqa: PLC0415
    from relay.runtime.cli.site import open_site  # noqa: PLC0415
    from relay.runtime.privacy import Places, Wish  # noqa: PLC0415

    wish = Wish(queued, configuration)
    site = open_site(config)
    places = Places(site, address)
    if not yes:
        confirm(f"Erase {places.address} for good?")
    with working("erasing"), owner(site) as who:
        done = places.erase(who, wish)
    site.audit("privacy.erase", "", {"digest": digest_of(site.master_key(), places.address), "removed": _told(done)})
    _write(done, places.address, as_json=as_json)
    if any(one.count for one in done.left):
        from relay.errors import EX_TEMPFAIL  # noqa: PLC0415

        raise typer.Exit(EX_TEMPFAIL)


def digest_of(master_key: bytes, address: str) -> str:
    """Return what the audit log has in the place of an erased address: who has the key can compare it with one."""
    from relay.policy.suppression import fold  # noqa: PLC0415
    from relay.store.suppression_relay_list import Digester  # noqa: PLC0415

    return Digester(master_key).digest(fold(address)).hex()


def _told(done: "Erased") -> dict[str, int]:
    return {place: count for place, count in sorted(done.removed.items()) if count}


def _write(done: "Erased", address: str, *, as_json: bool) -> None:
    if as_json:
        left = [{"place": one.place, "count": one.count, "advice": one.advice} for one in done.left]
        write_json({"removed": _told(done), "total": done.removed.total(), "left": left})
        return
    if done.removed.total():
        write_fields(_told(done))
    else:
        note(f"Nothing that can be erased mentioned {address}.")
    for one in done.left:
        note(f"Left: {one.place}{f', {one.count} records' if one.count else ''}: {one.advice}.")


@app.command("delete-files")
def delete_files(
    *,
    stream: Annotated[str, typer.Option(metavar="NAME", help="The stream, to a directory or bucket.")],
    older_than: Annotated[str, typer.Option("--older-than", metavar="TIME", help="Files written longer ago.")] = "",
    recipient: Annotated[
        str, typer.Option(metavar="ADDRESS", help="Erase this address in its files; they stay.")
    ] = "",
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Delete stored files of a stream by age, or erase an address in them."""
    from relay.runtime.cli.site import open_site  # noqa: PLC0415

    if bool(older_than) == bool(recipient):
        raise UsageError("Give one of --older-than and --recipient.")
    site = open_site(config)
    found = next((one for one in site.config.streams if one.name == stream and one.type != "kafka"), None)
    if found is None:
        raise UsageError(f"There is no stream {stream!r} to a directory or bucket in the configuration.")
    if not yes:
        confirm(f"Delete what stream {stream} has stored?")
    with working("searching"):
        count = _erase_stored(site, found, recipient) if recipient else _delete_stored(site, found, older_than)
    what = "records" if recipient else "files"
    site.audit("privacy.delete_files", "", {"stream": stream, "olderThan": older_than or None, what: count})
    if as_json:
        write_json({"count": count})
    else:
        typer.echo(f"{count} {what} of stream {stream} {'lost the address' if recipient else 'are deleted'}.")


def _erase_stored(site: "Site", stream: "Stream", address: str) -> int:
    from relay.runtime.privacy import Places, erase_stream_files  # noqa: PLC0415
    from relay.runtime.privacy_bucket import StoredObjects  # noqa: PLC0415

    places = Places(site, address)
    if stream.type == "bucket":
        return StoredObjects(stream, site.data_dir).erase(places.erasure)
    return erase_stream_files(places, stream.name)


def _delete_stored(site: "Site", stream: "Stream", older_than: str) -> int:
    import time  # noqa: PLC0415

    from relay.runtime.cli.queue_choice import milliseconds  # noqa: PLC0415
    from relay.runtime.privacy import Places  # noqa: PLC0415
    from relay.runtime.privacy_bucket import StoredObjects  # noqa: PLC0415

    before_ms = time.time_ns() // 1_000_000 - milliseconds("--older-than", older_than)
    if stream.type == "bucket":
        return StoredObjects(stream, site.data_dir).delete(before_ms)
    found = Places(site, "nobody@example.invalid").stream_files(stream.name)
    old = [path for path in found if path.stat().st_mtime * 1000 < before_ms]
    for path in old:
        path.unlink(missing_ok=True)
    return len(old)
