"""`relay reputation open ... unlink`: opening cases, answering them, deciding about them."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from relay.errors import UsageError
from relay.runtime.cli.options import DEFAULT_ACCOUNT, AccountOption, ConfigOption, JsonOption
from relay.runtime.cli.output import write_json
from relay.runtime.cli.reputation_site import CaseArgument, LinkArgument, ReasonOption, SetOption, opened, told

if TYPE_CHECKING:
    from relay.store.catalog import Catalog


# --- opening ---------------------------------------------------------------------------------------------------


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
    with opened(config) as here:
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
    told(finding, as_json=as_json)


def report(number: CaseArgument, *, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Note that what a case is about was reported again."""
    with opened(config) as here:
        finding = here.catalog.findings.report(number)
        here.record("report", finding, evidence=finding.evidence)
    told(finding, as_json=as_json)


def investigate(
    *,
    reason: Annotated[str, typer.Option(help="What should be looked into.")],
    account: AccountOption = DEFAULT_ACCOUNT,
    config: ConfigOption = None,
) -> None:
    """Put an account into the queue of what administrators look into; the account is not told."""
    with opened(config) as here:
        number = here.catalog.findings.investigate(account, reason)
    if number is None:
        raise UsageError(f"Account {account} waits to be looked into already.")
    here.site.audit("reputation.investigate", account, {"reason": reason})
    typer.echo(f"Request {number}: account {account} is to be looked into.")


# --- the account's side ----------------------------------------------------------------------------------------


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
    with opened(config) as here:
        request = here.catalog.findings.answer(number, root_cause, changes, prevention)
        here.record("answer", here.catalog.findings.require(number), request=request)
    if as_json:
        write_json({"case": number, "request": request})
    else:
        typer.echo(f"Request {request}: the answer in case {number} waits for an administrator.")


# --- decisions -------------------------------------------------------------------------------------------------


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

    with opened(config) as here:
        finding = here.catalog.findings.step(number, FindingStep.ACCEPT, here.tell, reason=reason)
        if fresh_start:
            here.catalog.findings.fresh_start(finding.account, finding.configuration_set)
        here.record("accept", finding, reason=reason or None, freshStart=fresh_start or None)
    told(finding, as_json=as_json)


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
    with opened(config) as here:
        period_ms = wanted_ms or here.period_ms
        finding = here.catalog.findings.step(
            number, FindingStep.EXTEND, here.tell, reason=reason, period_ms=period_ms
        )
        here.record("extend", finding, reason=reason or None)
    told(finding, as_json=as_json)


def reject(
    number: CaseArgument,
    *,
    reason: Annotated[str, typer.Option(help="Why the answer is not enough, for the account to read.")],
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Turn down what the account answered; it may answer again."""
    with opened(config) as here:
        finding = here.catalog.findings.reject(number, reason, here.tell)
        here.record("reject", finding, reason=reason)
    told(finding, as_json=as_json)


def pause(
    number: CaseArgument, *, reason: ReasonOption = "", config: ConfigOption = None, as_json: JsonOption = False
) -> None:
    """Pause the account or set of a case; only accept and extend end that."""
    from relay.model.finding import FindingStep  # noqa: PLC0415

    with opened(config) as here:
        finding = here.catalog.findings.step(number, FindingStep.PAUSE, here.tell, reason=reason)
        here.record("pause", finding, reason=reason or None)
    told(finding, as_json=as_json)


def fresh_start(
    *, account: AccountOption = DEFAULT_ACCOUNT, configuration_set: SetOption = "", config: ConfigOption = None
) -> None:
    """Let the rates of an account or set count only mail from now on."""
    with opened(config) as here:
        here.catalog.findings.fresh_start(account, configuration_set)
    here.site.audit("reputation.fresh_start", account, {"configurationSet": configuration_set or None})
    what = f"configuration set {configuration_set}" if configuration_set else f"account {account}"
    typer.echo(f"Rates of {what} count from now on.")


# --- samples and links -----------------------------------------------------------------------------------------


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
    with opened(config) as here:
        if content is None:
            kept = here.catalog.findings.sample(number)
            if kept is None:
                raise UsageError(f"Case {number} has no sample.")
            typer.echo(kept, nl=False)
            return
        here.catalog.findings.put_sample(number, content)
        here.record("sample", here.catalog.findings.require(number), bytes=len(content))
    typer.echo(f"Case {number} has a sample of {len(content)} bytes.")


def link(account: LinkArgument, other: LinkArgument, *, config: ConfigOption = None) -> None:
    """Say that two accounts belong together: a pause of one opens a case against the other."""
    _link(config, "link", account, other, lambda catalog: catalog.findings.link(account, other))


def unlink(account: LinkArgument, other: LinkArgument, *, config: ConfigOption = None) -> None:
    """Say that two accounts do not belong together."""
    _link(config, "unlink", account, other, lambda catalog: catalog.findings.unlink(account, other))


def _link(config: Path | None, word: str, account: str, other: str, run: "Callable[[Catalog], None]") -> None:
    with opened(config) as here:
        run(here.catalog)
    here.site.audit(f"reputation.{word}", account, {"other": other})
    typer.echo(f"Accounts {account} and {other} {'belong' if word == 'link' else 'do not belong'} together.")


COMMANDS: dict[str, Callable[..., None]] = {
    "open": open_,
    "report": report,
    "investigate": investigate,
    "answer": answer,
    "accept": accept,
    "extend": extend,
    "reject": reject,
    "pause": pause,
    "fresh-start": fresh_start,
    "sample": sample,
    "link": link,
    "unlink": unlink,
}
