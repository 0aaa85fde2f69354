"""`relay reputation`: how accounts send, cases against them, and what an administrator decides about those.

Everything that the page of an account shows is here, the same for its users and for administrators (REP-014).
"""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from relay.errors import UsageError
from relay.runtime.cli.options import DEFAULT_ACCOUNT, AccountOption, ConfigOption, JsonOption
from relay.runtime.cli.output import note, write_fields, write_json, write_json_lines, write_table
from relay.runtime.cli.reputation_output import (
    case_fields,
    case_object,
    metric_fields,
    page_object,
    texts_of,
    write_cases,
    write_pages,
)
from relay.runtime.cli.site import Site

if TYPE_CHECKING:
    from relay.model.finding import Finding
    from relay.runtime.reputation import Page
    from relay.store.catalog import Catalog
    from relay.store.catalog_findings import Tell

app = typer.Typer(help="How accounts send, cases against them, and decisions.", no_args_is_help=True)

CaseArgument = Annotated[int, typer.Argument(metavar="CASE", help="The number of the case.")]
SetOption = Annotated[str, typer.Option("--set", metavar="NAME", help="A configuration set instead of the account.")]
ReasonOption = Annotated[str, typer.Option(help="Why, for the mail to the contacts of the account.")]
AnyAccountOption = Annotated[
    str | None, typer.Option("--account", metavar="ID", help="Only this account.", show_default=False)
]


@dataclass(frozen=True, slots=True)
class _Opened:
    """What a command works with."""

    site: Site
    catalog: "Catalog"
    tell: "Tell"
    period_ms: int

    def page(self, account: str, configuration_set: str) -> "Page":
        """Return how an account or set stands."""
        from relay.runtime.clock import SteadyClock  # noqa: PLC0415
        from relay.runtime.reputation import page_of  # noqa: PLC0415
        from relay.store.statistics import StatisticsReader  # noqa: PLC0415

        reader = StatisticsReader(self.site.data_dir)
        with contextlib.closing(reader):
            now_ms = SteadyClock().now_ms()
            return page_of(self.site.config, self.catalog, reader, account, configuration_set, now_ms)

    def record(self, operation: str, finding: "Finding", **more: object) -> None:
        """Write a line of the audit log."""
        said: dict[str, object] = {"case": finding.finding_id, "configurationSet": finding.configuration_set or None}
        said = {**said, "kind": finding.kind, "state": finding.state, **more}
        self.site.audit(f"reputation.{operation}", finding.account, said)


@contextlib.contextmanager
def _opened(config: Path | None) -> Iterator[_Opened]:
    from relay.runtime.cli.site import open_site  # noqa: PLC0415
    from relay.runtime.clock import SteadyClock  # noqa: PLC0415
    from relay.runtime.reputation import tell  # noqa: PLC0415

    site = open_site(config)
    period_ms = int(site.config.reputation.review_period * 1000)
    with site.catalog() as catalog:
        yield _Opened(site, catalog, tell(site.config, SteadyClock().now_ms()), period_ms)


# --- looking ---------------------------------------------------------------------------------------------------


@app.command()
def show(
    *,
    account: AccountOption = DEFAULT_ACCOUNT,
    configuration_set: SetOption = "",
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show how an account or configuration set stands: its rates, what they rest on, and open cases."""
    with _opened(config) as here:
        page = here.page(account, configuration_set)
        known = here.catalog.accounts.require(account)
        links = here.catalog.findings.links(account)
        metrics = not configuration_set or here.catalog.configuration_sets.require(
            account, configuration_set
        ).reputation_metrics  # fmt: skip
    if as_json:
        write_json(page_object(page))
        return
    fields = {"account": account, **({"configuration set": configuration_set} if configuration_set else {})}
    fields |= {"summary": page.summary, "status": page.health}
    if not configuration_set:
        fields |= {"own switch": known.state, "enforcement": known.enforcement}
    write_fields({**fields, **metric_fields(page, here.site.config), "linked accounts": ", ".join(links) or "-"})
    if not metrics:
        note("Reputation metrics of this set are off: nothing is watched by itself, and no metric is exported.")
    typer.echo("")
    write_cases(page.findings, empty="No case is open.")


@app.command("list")
def list_(*, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """List accounts, and their sets with reputation metrics, with rates and status; the worst first."""
    with _opened(config) as here:
        subjects = [(one.account_id, "") for one in here.catalog.accounts.list()]
        subjects += here.catalog.findings.watched_sets()
        pages = [here.page(*subject) for subject in subjects]
    pages.sort(key=lambda page: (_ORDER.index(page.summary), page.account, page.configuration_set))
    if as_json:
        write_json_lines(page_object(page) for page in pages)
    else:
        write_pages(pages)


_ORDER = ("At risk", "Under review", "Healthy")


@app.command()
def cases(
    *,
    account: AnyAccountOption = None,
    everything: Annotated[bool, typer.Option("--all", help="Closed cases too.")] = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """List open cases, newest first."""
    with _opened(config) as here:
        found = here.catalog.findings.list(account, closed=everything)
    if as_json:
        write_json_lines(case_object(one) for one in found)
    else:
        write_cases(found, empty="There are no cases." if everything else "No case is open.")


@app.command()
def case(number: CaseArgument, *, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Show a case: why it was opened, how to solve it, what follows, and what the account answered."""
    with _opened(config) as here:
        finding = here.catalog.findings.require(number)
        answers = [one for one in here.catalog.reviews.list(finding.account) if one.finding == number]
        sample = here.catalog.findings.sample(number) is not None
    if as_json:
        write_json(case_object(finding, answers, sample=sample))
        return
    write_fields(case_fields(finding, sample=sample))
    for title, text in texts_of(finding):
        typer.echo(f"\n{title}\n  {text}")
    for one in answers:
        typer.echo(f"\nRequest {one.review_id}: {one.kind}, {one.state}")
        said = {"use case": one.use_case, "root cause": one.root_cause, "changes": one.changes}
        said |= {"prevention": one.prevention, "decision": one.reason}
        write_fields({f"  {name}": text for name, text in said.items() if text})


# --- opening ---------------------------------------------------------------------------------------------------


@app.command("open")
def open_(
    kind: Annotated[str, typer.Argument(metavar="KIND", help="What it is about, such as listbombing or spamtrap.")],
    *,
    account: AccountOption = DEFAULT_ACCOUNT,
    configuration_set: SetOption = "",
    cause: Annotated[str, typer.Option(help="What was found, for the account to read.")] = "",
    private: Annotated[str, typer.Option("--note", help="A note for administrators alone.")] = "",
    about: Annotated[str, typer.Option(metavar="ID", help="The other account, for related-account.")] = "",
    pause: Annotated[bool, typer.Option("--pause", help="Pause at once, without a review.")] = False,
    manual: Annotated[
        bool | None,
        typer.Option(
            "--manual/--automatic", help="Who decides at the end of the review [by kind].", show_default=False
        ),
    ] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Open a case: the account is under review, or paused; its contacts are told by mail."""
    from relay.model.finding import FindingKind  # noqa: PLC0415
    from relay.store.catalog_findings import NewFinding  # noqa: PLC0415

    if kind not in set(FindingKind):
        raise UsageError(f"A case is about one of {', '.join(FindingKind)}; not {kind[:80]}.")
    if kind == FindingKind.OTHER and not cause:
        raise UsageError("A case of kind other needs --cause: its text is all that the account gets.")
    with _opened(config) as here:
        if about:
            here.catalog.accounts.require(about)
        new = NewFinding(
            account,
            FindingKind(kind),
            here.period_ms,
            configuration_set,
            cause,
            private,
            about,
            manual=manual,
            paused=pause,
        )
        finding = here.catalog.findings.open(new, here.tell)
        here.record("open", finding, cause=cause or None)
    _told(finding, as_json=as_json)


@app.command()
def report(number: CaseArgument, *, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Note that what a case is about was reported again."""
    with _opened(config) as here:
        finding = here.catalog.findings.report(number)
        here.record("report", finding, evidence=finding.evidence)
    _told(finding, as_json=as_json)


@app.command()
def investigate(
    *,
    reason: Annotated[str, typer.Option(help="What should be looked into.")],
    account: AccountOption = DEFAULT_ACCOUNT,
    config: ConfigOption = None,
) -> None:
    """Put an account into the queue of what administrators look into; the account is not told."""
    with _opened(config) as here:
        number = here.catalog.findings.investigate(account, reason)
    if number is None:
        raise UsageError(f"Account {account} waits to be looked into already.")
    here.site.audit("reputation.investigate", account, {"reason": reason})
    typer.echo(f"Request {number}: account {account} is to be looked into.")


# --- the account's side ----------------------------------------------------------------------------------------


@app.command()
def answer(
    number: CaseArgument,
    *,
    root_cause: Annotated[str, typer.Option(help="What caused it.")],
    changes: Annotated[str, typer.Option(help="What has been changed already.")],
    prevention: Annotated[str, typer.Option(help="Why that keeps it from coming again.")],
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Answer in a case and ask for another look at it; an administrator decides."""
    with _opened(config) as here:
        request = here.catalog.findings.answer(number, root_cause, changes, prevention)
        here.record("answer", here.catalog.findings.require(number), request=request)
    if as_json:
        write_json({"case": number, "request": request})
    else:
        typer.echo(f"Request {request}: the answer in case {number} waits for an administrator.")


# --- decisions -------------------------------------------------------------------------------------------------


@app.command()
def accept(
    number: CaseArgument,
    *,
    fresh_start: Annotated[
        bool, typer.Option("--fresh-start", help="Let rates count only mail from now on, too.")
    ] = False,
    reason: ReasonOption = "",
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Close a case: the review or pause ends, and the contacts are told."""
    from relay.model.finding import FindingStep  # noqa: PLC0415

    with _opened(config) as here:
        finding = here.catalog.findings.step(number, FindingStep.ACCEPT, here.tell, reason=reason)
        if fresh_start:
            here.catalog.findings.fresh_start(finding.account, finding.configuration_set)
        here.record("accept", finding, reason=reason or None, freshStart=fresh_start or None)
    _told(finding, as_json=as_json)


@app.command()
def extend(
    number: CaseArgument,
    *,
    period: Annotated[
        str | None, typer.Option("--for", metavar="DURATION", help="How long [a review].", show_default=False)
    ] = None,
    reason: ReasonOption = "",
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Begin a review anew, of which only what comes from now on counts; a pause ends."""
    from relay.model.finding import FindingStep  # noqa: PLC0415
    from relay.runtime.config.values import parse_duration  # noqa: PLC0415

    try:
        wanted_ms = int(parse_duration(period) * 1000) if period else 0
    except ValueError as error:
        raise UsageError(f"--for {error}.") from error
    with _opened(config) as here:
        period_ms = wanted_ms or here.period_ms
        finding = here.catalog.findings.step(
            number, FindingStep.EXTEND, here.tell, reason=reason, period_ms=period_ms
        )
        here.record("extend", finding, reason=reason or None)
    _told(finding, as_json=as_json)


@app.command()
def reject(
    number: CaseArgument,
    *,
    reason: Annotated[str, typer.Option(help="Why the answer is not enough, for the account to read.")],
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Turn down what the account answered; it may answer again."""
    with _opened(config) as here:
        finding = here.catalog.findings.reject(number, reason, here.tell)
        here.record("reject", finding, reason=reason)
    _told(finding, as_json=as_json)


@app.command()
def pause(
    number: CaseArgument, *, reason: ReasonOption = "", config: ConfigOption = None, as_json: JsonOption = False
) -> None:
    """Pause the account or set of a case; only accept and extend end that."""
    from relay.model.finding import FindingStep  # noqa: PLC0415

    with _opened(config) as here:
        finding = here.catalog.findings.step(number, FindingStep.PAUSE, here.tell, reason=reason)
        here.record("pause", finding, reason=reason or None)
    _told(finding, as_json=as_json)


@app.command("fresh-start")
def fresh_start(
    *, account: AccountOption = DEFAULT_ACCOUNT, configuration_set: SetOption = "", config: ConfigOption = None
) -> None:
    """Let the rates of an account or set count only mail from now on."""
    with _opened(config) as here:
        here.catalog.findings.fresh_start(account, configuration_set)
    here.site.audit("reputation.fresh_start", account, {"configurationSet": configuration_set or None})
    what = f"configuration set {configuration_set}" if configuration_set else f"account {account}"
    typer.echo(f"Rates of {what} count from now on.")


# --- samples and links -----------------------------------------------------------------------------------------


@app.command()
def sample(
    number: CaseArgument,
    file: Annotated[
        Path | None,
        typer.Argument(
            metavar="[FILE]", help="A message to keep with the case; without: prints it.", show_default=False
        ),
    ] = None,
    *,
    config: ConfigOption = None,
) -> None:
    """Keep a message that shows the problem with a case, or print the one that is there."""
    content = file.read_bytes() if file is not None else None
    with _opened(config) as here:
        if content is None:
            kept = here.catalog.findings.sample(number)
            if kept is None:
                raise UsageError(f"Case {number} has no sample.")
            typer.echo(kept, nl=False)
            return
        here.catalog.findings.put_sample(number, content)
        here.record("sample", here.catalog.findings.require(number), bytes=len(content))
    typer.echo(f"Case {number} has a sample of {len(content)} bytes.")


LinkArgument = Annotated[str, typer.Argument(metavar="ID", help="An account, 12 digits.")]


@app.command()
def link(account: LinkArgument, other: LinkArgument, *, config: ConfigOption = None) -> None:
    """Say that two accounts belong together: a pause of one opens a case against the other."""
    _link(config, "link", account, other, lambda catalog: catalog.findings.link(account, other))


@app.command()
def unlink(account: LinkArgument, other: LinkArgument, *, config: ConfigOption = None) -> None:
    """Say that two accounts do not belong together."""
    _link(config, "unlink", account, other, lambda catalog: catalog.findings.unlink(account, other))


def _link(config: Path | None, word: str, account: str, other: str, run: "Callable[[Catalog], None]") -> None:
    with _opened(config) as here:
        run(here.catalog)
    here.site.audit(f"reputation.{word}", account, {"other": other})
    typer.echo(f"Accounts {account} and {other} {'belong' if word == 'link' else 'do not belong'} together.")


def _told(finding: "Finding", *, as_json: bool) -> None:
    if as_json:
        write_json(case_object(finding))
        return
    what = f"configuration set {finding.configuration_set} of " if finding.configuration_set else ""
    typer.echo(f"Case {finding.finding_id} ({finding.kind}) of {what}account {finding.account}: {finding.state}.")


def register_account(accounts: Any) -> None:
    """Add `relay account suspend`, `reinstate` and `events`."""
    accounts.command()(suspend)
    accounts.command()(reinstate)
    accounts.command()(events)


def suspend(account: LinkArgument, *, reason: ReasonOption = "", config: ConfigOption = None) -> None:
    """Suspend an account for good: new mail is refused whatever becomes of its cases; its contacts are told."""
    from relay.mail.finding_letters import suspension_letter  # noqa: PLC0415
    from relay.runtime import settings  # noqa: PLC0415
    from relay.runtime.clock import SteadyClock  # noqa: PLC0415

    with _opened(config) as here:
        letterhead, now_ms = settings.letterhead(here.site.config), SteadyClock().now_ms()
        here.catalog.enforcement.suspend(
            account, lambda recipient: suspension_letter(letterhead, account, reason, recipient, now_ms)
        )
    here.site.audit("account.suspend", account, {"reason": reason or None})
    typer.echo(f"Account {account} is suspended.")


def reinstate(account: LinkArgument, *, config: ConfigOption = None) -> None:
    """End a suspension; a pause by a case stays."""
    with _opened(config) as here:
        left = here.catalog.enforcement.reinstate(account)
    here.site.audit("account.reinstate", account, {"enforcement": left})
    typer.echo(f"Account {account} is no longer suspended{'; a case still pauses it' if left != 'none' else ''}.")


def events(account: LinkArgument, *, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """List what happened to an account, newest first: pauses, with a copy of the notice."""
    from relay.runtime.cli.output import iso, when  # noqa: PLC0415

    with _opened(config) as here:
        found = here.catalog.enforcement.events(account)
    if as_json:
        write_json_lines(
            {"event": one.event_id, "time": iso(one.created_ms), "name": one.name, "notice": one.text}
            for one in found
        )
        return
    rows = ((when(one.created_ms), one.name, one.text.partition("\n")[0].strip()) for one in found)
    write_table(("Time", "Event", "Notice"), rows, empty="Nothing happened to this account.")
