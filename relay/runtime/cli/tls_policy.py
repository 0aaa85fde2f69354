"""`relay tls-policy`: what TLS mail to a domain needs, as it is now, and what is reported about it."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from relay.errors import EX_UNAVAILABLE, UsageError
from relay.runtime.cli.options import ConfigOption, JsonOption
from relay.runtime.cli.output import iso, note, write_fields, write_json, write_table

if TYPE_CHECKING:
    from relay.model.tls import TlsaFound
    from relay.net.resolver import DnsResolver
    from relay.policy.tls_policy import SiteTls
    from relay.runtime.config.model import Config

app = typer.Typer(help="TLS of mail to other domains.", no_args_is_help=True)
SEND_SECONDS = 300.0
DAY_SECONDS = 86_400
POLICIES = {"dane": "DANE", "sts": "MTA-STS", "none": "-"}


@app.command()
def show(
    domain: Annotated[str, typer.Argument(metavar="DOMAIN", help="A recipient domain.")],
    *,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what applies to a domain now: DANE, MTA-STS, who wants reports, and what each mail exchanger would get."""
    import asyncio  # noqa: PLC0415

    from relay.runtime.cli.site import open_site  # noqa: PLC0415

    found = asyncio.run(_look(open_site(config).config, _domain(domain)))
    if as_json:
        write_json(found)
        return
    sts, reports = found["mtaSts"], found["reportsTo"]
    write_fields(
        {
            "domain": found["domain"],
            "route": found["route"] or "-",
            "mta-sts record": found["mtaStsRecord"] or "none",
            **_policy_fields(sts),
            "dane": found["dane"],
            "reports to": ", ".join(reports) or "nobody",
        }
    )
    rows = ((one["host"], POLICIES[one["policy"]], "; ".join(one["gets"])) for one in found["hosts"])
    typer.echo("")
    write_table(("Host", "Policy", "What it gets"), rows, empty=found["failure"] or "No mail exchanger is known.")


def _policy_fields(policy: dict[str, Any] | None) -> dict[str, object]:
    if policy is None:
        return {"mta-sts policy": "none known"}
    fields = {
        "mta-sts policy": f"{policy['mode']}, {', '.join(policy['mx']) or 'no hosts'}",
        "  id": policy["id"],
        "  fetched": policy["fetched"],
        "  valid until": policy["expires"],
    }
    return {**fields, "  last fetch": policy["failure"]} if policy["failure"] else fields


def _domain(text: str) -> str:
    from relay.runtime.config.values import parse_domain  # noqa: PLC0415

    try:
        return parse_domain(text)
    except ValueError as error:
        raise UsageError(f"{text!r} is no domain: it {error}") from error


async def _look(config: "Config", domain: str) -> dict[str, Any]:
    """Ask DNS and the file of policies, as a worker does, and decide by the same functions."""
    from relay.net.resolver import DnsResolver  # noqa: PLC0415
    from relay.pipeline.domain_tls import of_hosts, of_route  # noqa: PLC0415
    from relay.ports import MailHost, MailHosts, ResolverError, StsAnswer  # noqa: PLC0415
    from relay.runtime import settings  # noqa: PLC0415
    from relay.runtime.clock import SteadyClock  # noqa: PLC0415
    from relay.schedule.route import RouteTable  # noqa: PLC0415
    from relay.store.tls_book import TlsReader  # noqa: PLC0415

    clock = SteadyClock()
    resolver = DnsResolver(settings.resolver_settings(config), clock)
    outbound = settings.outbound_settings(config, lambda _content, _tag: None)
    route = RouteTable(outbound.routes).find(domain)
    reader = TlsReader(config.data_dir)
    known, fault = reader.policy(domain), reader.failure(domain)
    reader.close()
    if known is not None and (known.expires_ms <= clock.now_ms() or not config.mta_sts.enabled):
        known = None
    failure = ""
    try:
        hosts = await resolver.mail_hosts(domain) if route is None else MailHosts((MailHost(0, route.host),))
    except ResolverError as error:
        hosts, failure = MailHosts(), f"The mail exchangers cannot be looked up: {error}."
    if route is not None:
        tls = of_route(route.tls, outbound.tls_rules).plain
    else:
        policy = StsAnswer(known.policy if known else None)
        tls = of_hosts(outbound.tls, outbound.tls_rules, domain, hosts, policy, dane=outbound.dane).plain
    return {
        "domain": domain,
        "route": route.host if route else None,
        "mtaStsRecord": await _record(resolver, domain),
        "mtaSts": None
        if known is None
        else {
            "id": known.record_id,
            "mode": known.policy.mode.value,
            "mx": list(known.policy.mx),
            "maxAgeSeconds": known.policy.max_age_seconds,
            "fetched": iso(known.fetched_ms),
            "expires": iso(known.expires_ms),
            "ageSeconds": (clock.now_ms() - known.fetched_ms) // 1000,
            "failure": fault,
        },
        "dane": _dane(config, resolver, secure=hosts.secure),
        "reportsTo": await _reports(resolver, domain),
        "hosts": [await _host(resolver, tls, one.host, outbound.port) for one in hosts.hosts],
        "failure": failure,
    }


async def _host(resolver: "DnsResolver", tls: "SiteTls", host: str, port: int) -> dict[str, Any]:
    from relay.model.tls import NO_TLSA  # noqa: PLC0415
    from relay.policy.tls_policy import in_words, of_host  # noqa: PLC0415

    found: TlsaFound = await resolver.tlsa(host, port) if tls.dane else NO_TLSA
    decided = of_host(tls, host, found)
    return {
        "host": host,
        "policy": decided.policy,
        "tls": "refused" if decided.refusal else decided.need.value,
        "minimumVersion": decided.minimum,
        "serverName": decided.server_name,
        "tlsa": [str(one) for one in found.records],
        "gets": list(in_words(decided)),
    }


async def _record(resolver: "DnsResolver", domain: str) -> str:
    from relay.policy.mta_sts import record_id, record_name  # noqa: PLC0415
    from relay.ports import ResolverError  # noqa: PLC0415

    try:
        found = record_id(await resolver.text(record_name(domain)))
    except ResolverError as error:
        return f"cannot be looked up: {error}"
    return f"id {found}" if found else ""


async def _reports(resolver: "DnsResolver", domain: str) -> list[str]:
    from relay.policy.tls_report import record_name, report_addresses  # noqa: PLC0415
    from relay.ports import ResolverError  # noqa: PLC0415

    try:
        return list(report_addresses(await resolver.text(record_name(domain))))
    except ResolverError:
        return []


def _dane(config: "Config", resolver: "DnsResolver", *, secure: bool) -> str:
    if not config.delivery.dane:
        return "switched off (delivery.dane)"
    if not resolver.trusts_ad:
        return "off: the name servers are not trusted to validate (dns.trust_ad)"
    return "MX records are signed" if secure else "MX records are not signed"


@app.command()
def report(
    domain: Annotated[str, typer.Argument(metavar="[DOMAIN]", help="Show the report about one domain.")] = "",
    *,
    day: Annotated[str, typer.Option(metavar="DAY", help="`yesterday`, `today`, or a day such as 2026-11-25.")] = (
        "yesterday"
    ),
    send: Annotated[bool, typer.Option("--send", help="Send the reports up to that day now.")] = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what is reported about a domain, or send reports without waiting for the night."""
    import asyncio  # noqa: PLC0415

    from relay.policy import tls_report  # noqa: PLC0415
    from relay.runtime.cli.site import open_site  # noqa: PLC0415
    from relay.runtime.rpc import ask  # noqa: PLC0415
    from relay.runtime.tls_reporting import SEND, reporter_of  # noqa: PLC0415
    from relay.runtime.worker_tls import office_socket  # noqa: PLC0415
    from relay.store.tls_book import TlsReader  # noqa: PLC0415

    if not domain and not send:
        raise UsageError("Give a domain, or --send.")
    site = open_site(config)
    number = _day(day)
    if site.config.tls_reports.contact is None:
        note("No reports are made: tls_reports.contact is not set.")
        raise typer.Exit(EX_UNAVAILABLE)
    if send:
        done = asyncio.run(ask(office_socket(site.data_dir / "run"), SEND, SEND_SECONDS, day=number))
        site.audit("tls-policy.report", "", {"day": day, **done})
        if as_json:
            write_json(done)
        else:
            typer.echo(f"{done['sent']} sent, {done['failed']} failed and tried again.")
        return
    name = _domain(domain)
    reader = TlsReader(site.data_dir)
    counts = reader.counts(number, name)
    reader.close()
    write_json(tls_report.report(reporter_of(site.config), name, number, counts))


def _day(text: str) -> int:
    import datetime as dt  # noqa: PLC0415
    import time  # noqa: PLC0415

    today = int(time.time()) // DAY_SECONDS
    if text in ("today", "yesterday"):
        return today - (text == "yesterday")
    try:
        return (dt.date.fromisoformat(text) - dt.date(1970, 1, 1)).days
    except ValueError as error:
        raise UsageError(f"{text!r} is no day: give one such as 2026-11-25.") from error
