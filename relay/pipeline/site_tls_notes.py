"""What is counted of TLS on the way to a site: for metrics, and by recipient domain for the reports of RFC 8460."""

from functools import partial
from typing import TYPE_CHECKING

from relay.pipeline.site_item import Target
from relay.policy.tls_policy import HostTls, TlsNeed

if TYPE_CHECKING:
    from relay.pipeline.site import Site
    from relay.pipeline.site_session import Session
    from relay.pipeline.site_targets import WalkContext


def count_failure(
    site: "Site",
    context: "WalkContext",
    tls: HostTls,
    result: str,
    target: Target,
    *,
    source: str = "",
    text: str = "",
) -> None:
    """Count a failure of TLS for each domain that the site is used for; `source`: the address it was met from."""
    context.metrics.count("relay_tls_policy_failures_total", tls.policy, result)
    tally = context.tally
    if not tally.on or site.route is not None:
        return
    for domain in site.domains:
        tally.failed(domain, site.tls, tls, result, target.host, target.address, source, text)


def count_session(site: "Site", context: "WalkContext", tls: HostTls, session: "Session") -> None:
    """Let a session be counted for each domain that uses it (RFC 8460 section 4.3)."""
    if not context.tally.on or site.route is not None:
        return
    if session.tls_version:
        session.tells = partial(context.tally.worked, site=site.tls, host=tls)
    elif tls.need is not TlsNeed.NONE and session.client is not None and not session.client.extensions.starttls:
        count_failure(site, context, tls, "starttls-not-supported", session.target, source=session.source_address)
