"""`relay reputation`: how accounts send, cases against them, and what an administrator decides about those.

Everything that the page of an account shows is here, the same for its users and for administrators (REP-014).
"""

from typing import Annotated

import typer

from relay.runtime.cli.options import DEFAULT_ACCOUNT, AccountOption, ConfigOption, JsonOption
from relay.runtime.cli.output import note, write_fields, write_json, write_json_lines
from relay.runtime.cli.reputation_acting import COMMANDS
from relay.runtime.cli.reputation_output import (
    case_fields,
    case_object,
    metric_fields,
    page_object,
    texts_of,
    write_cases,
    write_pages,
)
from relay.runtime.cli.reputation_site import CaseArgument, SetOption, opened

app = typer.Typer(help="How accounts send, cases against them, and decisions.", no_args_is_help=True)

AnyAccountOption = Annotated[
    str | None, typer.Option("--account", metavar="ID", help="Only this account.", show_default=False)
]


@app.command()
def show(
    *,
    account: AccountOption = DEFAULT_ACCOUNT,
    configuration_set: SetOption = "",
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show how an account or configuration set stands: its rates, what they rest on, and open cases."""
    with opened(config) as here:
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
    with opened(config) as here:
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
    with opened(config) as here:
        found = here.catalog.findings.list(account, closed=everything)
    if as_json:
        write_json_lines(case_object(one) for one in found)
    else:
        write_cases(found, empty="There are no cases." if everything else "No case is open.")


@app.command()
def case(number: CaseArgument, *, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Show a case: why it was opened, how to solve it, what follows, and what the account answered."""
    with opened(config) as here:
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


for _name, _command in COMMANDS.items():
    app.command(_name)(_command)
