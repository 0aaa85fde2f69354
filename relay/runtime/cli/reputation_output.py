"""How `relay reputation` shows pages and cases, to people and to programs."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from relay.runtime.cli.output import iso, when, write_table

if TYPE_CHECKING:
    from relay.model.finding import Finding
    from relay.model.review import Review
    from relay.reputation.rates import Rate
    from relay.runtime.config.model import Config
    from relay.runtime.reputation import Page


def share(rate: "Rate") -> str:
    """Return a rate for people."""
    return "-" if rate.value is None else f"{rate.value:.3%}"


def metric_fields(page: "Page", config: "Config") -> dict[str, object]:
    """Return both rates with what they rest on, and where the limits are (REP-005, REP-006, STAT-008)."""
    from relay.reputation.rates import Metric  # noqa: PLC0415
    from relay.runtime.reputation import limits  # noqa: PLC0415

    bounds = limits(config)
    fields: dict[str, object] = {}
    for metric in Metric:
        rate = page.rates.of(metric)
        fields[f"{metric} rate"] = (
            f"{share(rate)}, {page.statuses[metric]} (review from {bounds.review(metric):.2%}, pause from "
            f"{bounds.pause(metric):.2%})"
        )
        name = "messages sent" if metric is Metric.BOUNCE else "messages sent to providers that report complaints"
        fields[f"  {name}"] = f"{rate.volume}{_too_few(rate, bounds.volume_min)}"
        fields[f"  sent over period ({metric})"] = f"since {when(rate.since_ms)}" if rate.since_ms else "-"
    return {**fields, "last fresh start": when(page.fresh_start_ms)}


def _too_few(rate: "Rate", volume_min: int) -> str:
    return f" (nothing follows below {volume_min})" if rate.volume < volume_min else ""


def page_object(page: "Page") -> dict[str, Any]:
    """Return a page for programs; rates are 0 to 1."""
    from relay.reputation.findings import dashboard, enforcement_status  # noqa: PLC0415
    from relay.reputation.rates import Metric  # noqa: PLC0415

    metrics = {
        f"{metric}Rate": {
            "value": page.rates.of(metric).value,
            "count": page.rates.of(metric).bad,
            "messagesSent": page.rates.of(metric).volume,
            "sentSince": iso(page.rates.of(metric).since_ms),
            "status": str(page.statuses[metric]),
        }
        for metric in Metric
    }
    return {
        "account": page.account,
        "configurationSet": page.configuration_set or None,
        "summary": page.summary,
        "status": str(page.health),
        "dashboard": dashboard(page.health),
        "enforcementStatus": enforcement_status(page.health),
        **metrics,
        "lastFreshStart": iso(page.fresh_start_ms),
        "cases": [case_object(one) for one in page.findings],
    }


def write_pages(pages: "Sequence[Page]") -> None:
    """Write one line for each account or set."""
    write_table(
        ("Account", "Set", "Summary", "Status", "Bounces", "of", "Complaints", "of", "Cases"),
        (
            (
                page.account,
                page.configuration_set or "-",
                page.summary,
                page.health,
                share(page.rates.bounce),
                page.rates.bounce.volume,
                share(page.rates.complaint),
                page.rates.complaint.volume,
                ", ".join(str(one.finding_id) for one in page.findings) or "-",
            )
            for page in pages
        ),
        empty="There are no accounts.",
    )


def write_cases(found: "Sequence[Finding]", *, empty: str) -> None:
    """Write one line for each case."""
    write_table(
        ("Case", "Account", "Set", "Kind", "State", "Opened", "Review ends", "Reports", "Cause"),
        (
            (
                one.finding_id,
                one.account,
                one.configuration_set or "-",
                one.kind,
                one.state,
                when(one.opened_ms),
                when(one.ends_ms) if one.state == "under review" else "-",
                one.evidence,
                one.cause or "-",
            )
            for one in found
        ),
        empty=empty,
    )


def case_fields(one: "Finding", *, sample: bool) -> dict[str, object]:
    """Return a case for people."""
    from relay.reputation.findings import METRICS, TEXTS  # noqa: PLC0415

    return {
        "case": one.finding_id,
        "account": one.account,
        "configuration set": one.configuration_set or "-",
        "kind": TEXTS[one.kind].title + ("" if one.kind in METRICS else " (other notifications)"),
        "state": one.state,
        "cause": one.cause or "-",
        "reason": one.reason or "-",
        "related account": one.about or "-",
        "opened": when(one.opened_ms),
        "review ends": when(one.ends_ms),
        "evidence counts from": when(one.evidence_from_ms),
        "reported since": one.evidence,
        "below its limit since": when(one.below_ms),
        "at the end": "an administrator decides" if one.manual else "decided by itself",
        "sample": "yes" if sample else "no",
        "note": one.note or "-",
    }


def texts_of(one: "Finding") -> list[tuple[str, str]]:
    """Return the four texts of a case with their titles (REP-016)."""
    from relay.reputation.findings import TEXTS  # noqa: PLC0415

    texts = TEXTS[one.kind]
    return [
        ("Why this case was opened", texts.why),
        ("How to solve it", texts.solve),
        ("While under review", texts.under_review),
        ("When sending is paused", texts.paused),
    ]


def case_object(one: "Finding", answers: "Sequence[Review]" = (), *, sample: bool | None = None) -> dict[str, Any]:
    """Return a case for programs; its texts and answers with `sample` given."""
    from relay.runtime.cli.account_review import review_object  # noqa: PLC0415

    found = {
        "case": one.finding_id,
        "account": one.account,
        "configurationSet": one.configuration_set or None,
        "kind": str(one.kind),
        "state": str(one.state),
        "cause": one.cause or None,
        "reason": one.reason or None,
        "relatedAccount": one.about or None,
        "opened": iso(one.opened_ms),
        "changed": iso(one.changed_ms),
        "reviewEnds": iso(one.ends_ms),
        "evidenceFrom": iso(one.evidence_from_ms),
        "evidence": one.evidence,
        "belowSince": iso(one.below_ms),
        "manual": one.manual,
        "note": one.note or None,
    }
    if sample is None:
        return found
    texts = dict(zip(("why", "solve", "underReview", "paused"), (text for _, text in texts_of(one)), strict=True))
    return {**found, "texts": texts, "answers": [review_object(answer) for answer in answers], "sample": sample}
