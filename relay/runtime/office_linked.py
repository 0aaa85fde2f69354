"""Looks up where sampled mail points to, as a service of the office (REP-022).

Workers keep a few messages of each account and hour (`relay.pipeline.mail_samples`); they are read here, and the
domains of their links and images are asked of `own_checks.domain_lists`. A listed one opens a case *domain
blocklist*; while it is open, each further sample is evidence in it when it was accepted after the time from which
evidence counts, so that only mail after the fix does. What a round has taken and could not finish is lost: there
will be other samples.
"""

import asyncio
import base64
from collections.abc import Sequence
from functools import partial

from relay.errors import ConflictError, TemporaryError, UsageError
from relay.mail.lint import linked_domains
from relay.model.finding import Finding, FindingKind
from relay.net.resolver import DnsResolver
from relay.pipeline.mail_samples import MailSample
from relay.runtime import audit, settings
from relay.runtime.catalog_thread import CatalogThread
from relay.runtime.children import ChildContext, Role
from relay.runtime.clock import SteadyClock
from relay.runtime.config.model import Config
from relay.runtime.domain_look import listings
from relay.runtime.office_jobs import Job, Rounds
from relay.runtime.reputation import review_rules, tell
from relay.runtime.rpc import ask
from relay.store.catalog import Catalog
from relay.store.catalog_findings import NewFinding

SAMPLES_OPERATION = "samples.take"
CALLER = "relay"
CALLS_MAX = 16  # to one worker in a round
TOLD_MAX = 5
KIND = FindingKind.DOMAIN_BLOCKLIST


class LinkedDomainService(Rounds):
    """The service (`relay.runtime.service.Service`)."""

    def __init__(self, context: ChildContext) -> None:
        super().__init__(context)
        self._clock = SteadyClock()
        self._catalog = CatalogThread(context.config.data_dir)

    async def _release(self) -> None:
        await self._catalog.close()

    def _jobs(self, config: Config) -> Sequence[Job]:
        if not settings.sampled_per_hour(config):
            return ()
        return (Job("linked domains", config.reputation.every, partial(self._round, config)),)

    async def _round(self, config: Config) -> None:
        samples = await self._samples()
        if not samples:
            return
        found = await asyncio.to_thread(lambda: [linked_domains(one.content) for one in samples])
        resolver = DnsResolver(settings.resolver_settings(config), self._clock, self._context.metrics)
        domains = list(dict.fromkeys(domain for each in found for domain in each))
        listed = {domain for domain, _list in await listings(resolver.records, domains, config)}
        for sample, each in zip(samples, found, strict=True):
            bad = [domain for domain in each if domain in listed]
            if bad:
                await self._catalog.run(partial(self._act, config, sample, bad))

    async def _samples(self) -> list[MailSample]:
        """Take what the workers have; one that does not answer is asked in the next round."""
        names = [name for name in self._context.board.rows if name.startswith(Role.WORKER)]
        found: list[MailSample] = []
        for name in names:
            for _ in range(CALLS_MAX):
                try:
                    taken = (await ask(self._context.run_dir / f"{name}.sock", SAMPLES_OPERATION))["samples"]
                except TemporaryError:
                    break
                found += [MailSample(account, at_ms, base64.b64decode(text)) for account, at_ms, text in taken]
                if not taken:
                    break
        return found

    def _act(self, config: Config, sample: MailSample, bad: Sequence[str], catalog: Catalog) -> None:
        """Open a case about a sample, or count it in the one that is open."""
        if catalog.accounts.get(sample.account) is None:
            return
        cases = [one for one in catalog.findings.list(sample.account, "", closed=True) if one.kind is KIND]
        case = next((one for one in cases if one.open), None)
        try:
            if case is not None:
                self._count(catalog, case, sample)
            elif sample.accepted_ms > max((one.changed_ms for one in cases), default=0):
                self._open(config, catalog, sample, bad)
        except (UsageError, ConflictError) as error:  # a command was faster
            self._context.log.info("a sample had no effect", account=sample.account, reason=str(error))

    def _count(self, catalog: Catalog, case: Finding, sample: MailSample) -> None:
        if sample.accepted_ms > case.evidence_from_ms:
            catalog.findings.report(case.finding_id)

    def _open(self, config: Config, catalog: Catalog, sample: MailSample, bad: Sequence[str]) -> None:
        cause = f"Messages point to listed domains: {', '.join(bad[:TOLD_MAX])}."
        new = NewFinding(sample.account, KIND, review_rules(config).period_ms, cause=cause)
        case = catalog.findings.open(new, tell(config, self._clock.now_ms()))
        catalog.findings.put_sample(case.finding_id, sample.content)
        said = {"case": case.finding_id, "kind": case.kind, "state": case.state, "reason": cause}
        audit.record(config.data_dir, "reputation.open", sample.account, said, caller=CALLER)
        self._context.log.warning("a case changed", account=sample.account, **said)
        self._context.metrics.count("relay_reputation_steps_total", case.kind.value, case.state.value)
