"""`relay auth-test`: send a message, and see SPF, DKIM and DMARC as its receiver does (DLV-005)."""

from contextlib import closing
from typing import TYPE_CHECKING, Annotated, Any

import typer

from relay.errors import EX_TEMPFAIL, UsageError
from relay.runtime.cli.options import DEFAULT_ACCOUNT, AccountOption, ConfigOption, JsonOption
from relay.runtime.cli.output import note, paint, printable, working, write_json

if TYPE_CHECKING:
    from relay.model.account import Identity
    from relay.policy.spf_evaluation import SpfVerdict
    from relay.runtime.cli.site import Site
    from relay.schedule.pools import Plan

BODY = "This message was sent by `relay auth-test` to see whether its receiver can tell who sent it.\n"
GOOD = "pass"


def auth_test(
    address: Annotated[str, typer.Argument(metavar="ADDRESS", help="Who gets the message.")],
    *,
    sender: Annotated[str, typer.Option("--from", metavar="ADDRESS", help="A sender of the account.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Judge the message and send nothing.")] = False,
    account: AccountOption = DEFAULT_ACCOUNT,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Send a message through the relay, and judge SPF, DKIM and DMARC of it by what DNS says now.

    SPF is asked for each source address that the message may leave from.

    Exit code 0 when DMARC passes, 75 when it does not or the message was not accepted.
    """
    from relay.runtime.cli.site import open_site  # noqa: PLC0415

    site = open_site(config)
    with working("asking DNS"):
        result = _judge(site, account, sender, address)
    accepted = True
    if not dry_run:
        result["sent"], accepted = _send(site, sender, address)
    if as_json:
        write_json(result)
    else:
        _tell(result)
    if not accepted or result["dmarc"]["result"] != GOOD:
        raise typer.Exit(EX_TEMPFAIL)


def _judge(site: "Site", account: str, sender: str, recipient: str) -> dict[str, Any]:
    import asyncio  # noqa: PLC0415

    from relay.mail.address import BadAddress, parse_mailbox  # noqa: PLC0415
    from relay.runtime.cli.send_message import Draft, render  # noqa: PLC0415
    from relay.runtime.dry_run import made  # noqa: PLC0415
    from relay.runtime.sender_outlook import own_settings  # noqa: PLC0415
    from relay.schedule.pools import PoolBook  # noqa: PLC0415
    from relay.store.directory import CatalogDirectory  # noqa: PLC0415

    for given in (sender, recipient):
        if isinstance(parse_mailbox(given, smtputf8=False), BadAddress):
            raise UsageError(f"{given} is no address.")
    message = render(Draft(sender, (recipient,), "Authentication test", BODY), 1, 1)
    with closing(CatalogDirectory(site.data_dir, site.master_key())) as directory:
        new = made(site.config, site.master_key(), directory, account, sender, recipient, message)
        identity = own_settings(directory, account, sender)
        plan = PoolBook(directory.pools()).plan(account, new.message.options.pool)
    body = new.content.body
    assert isinstance(body, bytes)
    assert identity is not None  # else the message had been refused
    path = new.message.options.mail_from_domain or site.config.bounce_domain
    domain = sender.rpartition("@")[2].lower()
    return asyncio.run(_verdicts(site, plan, identity, domain, path, new.content.head + body))


async def _verdicts(  # noqa: PLR0917 - all that a receiver goes by
    site: "Site", plan: "Plan", identity: "Identity", from_domain: str, path: str, content: bytes
) -> dict[str, Any]:
    import asyncio  # noqa: PLC0415

    from relay.policy.dmarc import outlook  # noqa: PLC0415
    from relay.policy.suffix import registrable_domain  # noqa: PLC0415
    from relay.runtime import own_look  # noqa: PLC0415
    from relay.runtime.cli import lookup  # noqa: PLC0415
    from relay.runtime.sender_outlook import look  # noqa: PLC0415
    from relay.signing.verification import dkim_results  # noqa: PLC0415

    config = site.config
    resolver = lookup.asking(config)
    missing: dict[str, str] = {}

    def text(name: bytes | str, timeout: int = 5) -> bytes | None:
        del timeout
        asked = name.decode() if isinstance(name, bytes) else name
        found = lookup.texts(config, asked)
        if not found:
            why = "DNS gives no answer about the record" if found is None else "there is no such record in DNS"
            missing[asked.rstrip(".").lower()] = why
        return found[0].encode() if found else None

    signatures = await asyncio.to_thread(dkim_results, content, text)
    addresses = plan.addresses
    if plan.system:  # the host chooses, and nobody can say more about that than DNS does about its name
        answers = [await resolver.records(config.hostname, kind) for kind in ("A", "AAAA")]
        addresses = tuple(value for one in answers for value in one.values)
    spf = {one: await own_look.evaluated(resolver.records, path, one) for one in addresses}
    looked = await look(resolver.records, identity, from_domain, config.bounce_domain)
    rules = looked.record

    def aligned(way: str, domain: str) -> bool:
        judged = outlook(
            from_domain, rules, return_path_domain=path, signing_domain=domain, organizational=registrable_domain
        )
        return judged.spf.passes if way == "spf" else judged.dkim.passes

    by_dkim = any(result == GOOD and aligned("dkim", domain) for result, domain, _ in signatures)
    by_spf = bool(spf) and all(one.result.value == GOOD for one in spf.values()) and aligned("spf", path)
    return {
        "from": from_domain,
        "returnPath": path,
        "spf": [_spf_object(address, one) for address, one in spf.items()],
        "noAddress": plan.why or None,
        "spfAligned": aligned("spf", path),
        "dkim": [
            {
                "result": result,
                "domain": domain,
                "selector": selector,
                "aligned": aligned("dkim", domain),
                "reason": None
                if result == GOOD
                else missing.get(f"{selector}._domainkey.{domain}".lower(), "the signature does not fit the record"),
            }
            for result, domain, selector in signatures
        ],
        "dmarc": {
            "result": GOOD if by_dkim or by_spf else "fail",
            "by": [way for way, passes in (("dkim", by_dkim), ("spf", by_spf)) if passes],
            "record": looked.record_text or None,
            "policy": rules.policy if rules else None,
        },
    }


def _spf_object(address: str, verdict: "SpfVerdict") -> dict[str, str]:
    return {"address": address, "result": verdict.result.value, "reason": verdict.reason}


def _send(site: "Site", sender: str, address: str) -> tuple[dict[str, Any], bool]:
    import asyncio  # noqa: PLC0415

    from relay.runtime.cli.send_client import Sent, send_all  # noqa: PLC0415
    from relay.runtime.cli.send_defaults import configured_server  # noqa: PLC0415
    from relay.runtime.cli.send_message import Draft  # noqa: PLC0415

    server = configured_server(site.loaded.file, port=0, tls="", login=("", ""), timeout_seconds=60.0)
    sent: list[Sent] = []
    draft = Draft(sender, (address,), "Authentication test", BODY)
    asyncio.run(send_all(server, draft, count=1, connections=1, on_result=sent.append))
    one = sent[0]
    return {"accepted": one.accepted, "reply": one.reply, "messageId": one.message_id or None}, one.accepted


def _tell(result: dict[str, Any]) -> None:
    def line(way: str, verdict: str, detail: str) -> None:
        colour = "green" if verdict == GOOD else "yellow"
        typer.echo(f"{way:<6} {paint(f'{verdict:<9}', colour)} {printable(detail)}")

    aligned = "aligned" if result["spfAligned"] else f"not aligned with {result['from']}"
    for one in result["spf"]:
        line("SPF", one["result"], f"{result['returnPath']} from {one['address']}: {one['reason']} ({aligned})")
    if not result["spf"]:
        line("SPF", "none", result["noAddress"] or "no source address is known; set delivery.source_addresses")
    for one in result["dkim"]:
        way = "aligned" if one["aligned"] else f"not aligned with {result['from']}"
        why = f": {one['reason']}" if one["reason"] else ""
        line("DKIM", one["result"], f"{one['selector']}._domainkey.{one['domain']}{why} ({way})")
    if not result["dkim"]:
        line("DKIM", "none", "the message is not signed")
    dmarc = result["dmarc"]
    by = f"by {' and '.join(dmarc['by'])}" if dmarc["by"] else "neither way passes and is aligned"
    line("DMARC", dmarc["result"], f"{by}; record: {dmarc['record'] or 'none'}")
    sent = result.get("sent")
    if sent is not None:
        note(
            f"{sent['reply']}. `relay trace {sent['messageId']}` shows the delivery."
            if sent["messageId"]
            else sent["reply"]
        )
