"""What commands about reputation work with: the site, its catalog, and the words of notices."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from relay.runtime.cli.output import write_json
from relay.runtime.cli.reputation_output import case_object
from relay.runtime.cli.site import Site

if TYPE_CHECKING:
    from relay.model.finding import Finding
    from relay.runtime.reputation import Page
    from relay.store.catalog import Catalog
    from relay.store.catalog_findings import Tell

CaseArgument = Annotated[int, typer.Argument(metavar="CASE", help="The number of the case.")]
SetOption = Annotated[str, typer.Option("--set", metavar="NAME", help="A configuration set instead of the account.")]
ReasonOption = Annotated[str, typer.Option(help="Why, for the mail to the contacts of the account.")]
LinkArgument = Annotated[str, typer.Argument(metavar="ID", help="An account, 12 digits.")]


@dataclass(frozen=True, slots=True)
class Opened:
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
def opened(config: Path | None) -> Iterator[Opened]:
    """Open the catalog of a site for a command."""
    from relay.runtime.cli.site import open_site  # noqa: PLC0415
    from relay.runtime.clock import SteadyClock  # noqa: PLC0415
    from relay.runtime.reputation import tell  # noqa: PLC0415

    site = open_site(config)
    period_ms = int(site.config.reputation.review_period * 1000)
    with site.catalog() as catalog:
        yield Opened(site, catalog, tell(site.config, SteadyClock().now_ms()), period_ms)


def told(finding: "Finding", *, as_json: bool) -> None:
    """Say how a case stands after a command."""
    if as_json:
        write_json(case_object(finding))
        return
    what = f"configuration set {finding.configuration_set} of " if finding.configuration_set else ""
    typer.echo(f"Case {finding.finding_id} ({finding.kind}) of {what}account {finding.account}: {finding.state}.")
