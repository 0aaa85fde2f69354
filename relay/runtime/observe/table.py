"""Every metric of the product, in one table: the code counts by these names, the reference page is made from it.

Names are those Prometheus sees. Label values come from fixed sets (reasons, outcomes, states, TLS versions); where
one could be chosen by a client, `SERIES_MAX` folds what is too much into the value `other`.
"""

from dataclasses import dataclass
from enum import StrEnum

SERIES_MAX = 500  # label combinations of one metric in one process
OTHER = "other"


class Kind(StrEnum):
    """How a metric moves."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


class Combine(StrEnum):
    """How the gauges of several processes become one."""

    SUM = "sum"
    MAX = "max"


@dataclass(frozen=True, slots=True)
class Family:
    """One metric: its labels in order, what it means, and for histograms the upper bounds of the buckets."""

    name: str
    kind: Kind
    labels: tuple[str, ...]
    about: str
    buckets: tuple[float, ...] = ()
    combine: Combine = Combine.SUM


_FAST = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_SLOW = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0, 7200.0, 43200.0)
_SIZES = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0)
_BYTES = (1024.0, 4096.0, 16384.0, 65536.0, 262144.0, 1048576.0, 4194304.0, 16777216.0, 67108864.0)


def _counter(name: str, about: str, *labels: str) -> Family:
    return Family(name, Kind.COUNTER, labels, about)


def _gauge(name: str, about: str, *labels: str, combine: Combine = Combine.SUM) -> Family:
    return Family(name, Kind.GAUGE, labels, about, combine=combine)


def _histogram(name: str, about: str, buckets: tuple[float, ...], *labels: str) -> Family:
    return Family(name, Kind.HISTOGRAM, labels, about, buckets)


_SNDS = "a source address, in the newest period that the SNDS feed has; a series without figures is absent."

SES_COUNTERS = {
    "send": "Send",
    "rendering_failure": "Rendering Failure",
    "reject": "Reject",
    "delivery": "Delivery",
    "bounce": "Bounce",
    "complaint": "Complaint",
    "delivery_delay": "DeliveryDelay",
    "subscription": "Subscription",
    "open": "Open",
    "click": "Click",
}

FAMILIES: tuple[Family, ...] = (
    # doors
    _counter("relay_sessions_total", "SMTP sessions that began, by listener kind.", "listener"),
    _gauge("relay_sessions_open", "SMTP sessions open now, by listener kind.", "listener"),
    _counter(
        "relay_sessions_refused_total",
        "Connections that were closed before a session began: `connections` (too many are open), `rate` (the "
        "address made too many new ones in a minute), `denied` (by the listener's `allow` and `deny`) or "
        "`proxy_header` (it is missing, late or malformed).",
        "reason",
    ),
    _counter(
        "relay_sessions_ended_total",
        "Sessions by their end: `quit`, `lost`, `idle`, `deadline`, `rate`, `errors`, `junk`, `drain`, `protocol`.",
        "cause",
    ),
    _counter("relay_tls_sessions_total", "Sessions of clients that began TLS, by version.", "version"),
    _counter("relay_tls_failures_total", "TLS handshakes with clients that failed."),
    _counter(
        "relay_auth_total", "Authentications by result: `succeeded`, `failed`, `temporary`, `refused`.", "result"
    ),
    _counter(
        "relay_verification_links_total",
        "Verification links opened, by result: `shown`, `verified`, `unusable`, `temporary`.",
        "result",
    ),
    # acceptance
    _counter("relay_messages_accepted_total", "Messages answered with 250, by protocol (RFC 3848).", "protocol"),
    _counter("relay_messages_accepted_bytes_total", "Size of the accepted messages, in bytes."),
    _counter("relay_recipients_accepted_total", "Recipients of the accepted messages."),
    _counter(
        "relay_messages_refused_total",
        "Requests refused before anything was queued, by reason (the last column of the table of refusals).",
        "reason",
    ),
    _counter("relay_recipients_suppressed_total", "Recipients that were not contacted: suppressed addresses."),
    _counter(
        "relay_suppression_added_total",
        "Addresses that feedback put on a suppression list, `account` or `relay`, by reason, repeats too.",
        "list",
        "reason",
    ),
    _histogram("relay_accept_seconds", "From the end of the data to the reply.", _FAST),
    _histogram("relay_message_bytes", "Size of accepted messages, in bytes.", _BYTES),
    # the spool
    _histogram("relay_commit_group_messages", "Writes that shared one commit.", _SIZES),
    _histogram("relay_commit_seconds", "One commit with its sync.", _FAST),
    _histogram("relay_sync_seconds", "One sync to disk.", _FAST),
    _counter("relay_storage_failures_total", "Commits that failed and were rolled back."),
    _gauge("relay_queue_deliveries", "Deliveries on disk, by state.", "state"),
    _gauge("relay_queue_class_deliveries", "Queued deliveries, by class: `transactional`, `bulk`.", "class"),
    _gauge(
        "relay_queue_account_due_seconds",
        "How long the first due delivery of an account has waited, of the ten accounts that wait longest.",
        "account",
        combine=Combine.MAX,
    ),
    _gauge("relay_queue_oldest_seconds", "Age of the oldest queued delivery, since acceptance.", combine=Combine.MAX),
    _gauge(
        "relay_queue_oldest_due_seconds",
        "How long the longest-waiting due delivery has been due without an attempt.",
        combine=Combine.MAX,
    ),
    _counter("relay_quarantined_total", "Deliveries quarantined, by cause: `crashes`, `corrupt`.", "cause"),
    _counter(
        "relay_held_late_total", "Deliveries held at a start: they should have been given up more than a day before."
    ),
    # delivery
    _counter(
        "relay_attempts_total",
        "Finished attempts by verdict (`delivered`, `temporary`, `permanent`, `unknown`) and last stage.",
        "verdict",
        "stage",
    ),
    _counter("relay_deliveries_total", "Deliveries that ended, by final state.", "state"),
    _counter(
        "relay_delivery_tls_total",
        "Messages given to remote servers, by the TLS version of the connection or `none`.",
        "version",
    ),
    _counter(
        "relay_tls_policy_failures_total",
        "TLS to remote servers that failed, by what asked for it (`dane`, `sts`, `none`: the relay or the sender) "
        "and by the result types of RFC 8460.",
        "policy",
        "result",
    ),
    _counter(
        "relay_mta_sts_fetches_total",
        "MTA-STS policies fetched, by result: `fetched`, `failed`, `refused` (the host has no public address).",
        "result",
    ),
    _counter(
        "relay_tls_reports_total",
        "Reports on TLS, by result: `sent`, `failed` (tried again), `dropped`.",
        "result",
    ),
    _gauge("relay_deliveries_in_flight", "Deliveries being attempted now."),
    _gauge("relay_connections_out_open", "Connections to remote servers open now."),
    _counter("relay_connections_out_total", "Connections made to remote servers, by result.", "result"),
    _histogram("relay_attempt_seconds", "One attempt, from its start to the verdict.", _SLOW),
    _histogram("relay_delivery_seconds", "From acceptance to delivery.", _SLOW),
    _counter(
        "relay_shaping_effects_total",
        "What shaping rules did after replies, by kind: `slow`, `pause`, `switch`, `bounce`, `suspend account`, "
        "`suspend set`.",
        "kind",
    ),
    _counter("relay_blocklisted_total", "Replies that name a DNS block list, by list.", "list"),
    _counter(
        "relay_dns_queries_total", "Questions to name servers by result: `answer`, `none`, `failure`.", "result"
    ),
    _counter("relay_dns_cache_hits_total", "Questions answered from the cache."),
    # source addresses
    _counter(
        "relay_source_attempts_total",
        "Finished attempts by source address, pool (that of an account as ACCOUNT/NAME) and verdict, so that each "
        "has its own figures.",
        "source",
        "pool",
        "verdict",
    ),
    _counter(
        "relay_managed_attempts_total",
        "Finished attempts from managed pools by pool, provider (`other` for receivers without rules) and verdict: "
        "how each provider takes the mail of a pool, and at what rate.",
        "pool",
        "provider",
        "verdict",
    ),
    _gauge("relay_managed_pool_addresses", "Addresses of each managed pool.", "pool"),
    _gauge(
        "relay_managed_pool_day_messages", "Messages delivered from each managed pool in the last 24 hours.", "pool"
    ),
    _gauge(
        "relay_managed_warmup_level",
        "How far an address of a managed pool is with a group of providers: a day of the schedule, above its last "
        "one without a limit.",
        "source",
        "provider",
    ),
    _counter("relay_managed_pool_changes_total", "Managed pools that grew or shrank by themselves.", "change"),
    _counter(
        "relay_source_feedback_total",
        "What came back later for mail of a source address, by kind: `bounce`, `complaint`, `auto-reply`, ...",
        "source",
        "kind",
    ),
    _gauge("relay_source_addresses", "Source addresses by state: `present`, `absent` (not of this host).", "state"),
    _counter(
        "relay_source_address_changes_total",
        "Times a source address left this host (`absent`) or came back (`present`).",
        "state",
    ),
    # content
    _counter(
        "relay_scans_total",
        "Scans of messages, by type of scanner and result: `clean`, `infected`, `spam`, `failed`.",
        "scanner",
        "result",
    ),
    _histogram("relay_scan_seconds", "One scan, by type of scanner.", _FAST, "scanner"),
    _counter(
        "relay_messages_rejected_total",
        "Messages that were delivered to nobody because of their content: `eicar`, `virus`, `spam`.",
        "cause",
    ),
    _counter("relay_messages_unscanned_total", "Messages delivered although a scanner failed (`on_error: accept`)."),
    # the mailbox simulator
    _counter(
        "relay_simulator_deliveries_total",
        "Deliveries to the mailbox simulator, which count nowhere else, by what they play.",
        "scenario",
    ),
    # identities
    _counter("relay_identity_looks_total", "Aspects of identities looked at in DNS, by result.", "result"),
    _counter("relay_identity_changes_total", "Checks of identities that came to another state, by state.", "state"),
    # ourselves, as receivers see us
    _gauge(
        "relay_own_checks",
        "Checks of the relay's own addresses, names, records, certificate and clock, by grade.",
        "check",
        "grade",
    ),
    _gauge("relay_identities_signing", "Identities by the state of their DKIM records in DNS.", "state"),
    _gauge("relay_own_addresses_listed", "Source addresses on a block list now, by list.", "list"),
    # feedback
    _counter(
        "relay_reports_total",
        "Reports written to senders, by kind: `bounce`, `delay`, `relayed`, `delivered`.",
        "kind",
    ),
    _counter(
        "relay_reports_dropped_total", "Reports not written: `null_sender`, `rate`, `no_address`, `loop`.", "cause"
    ),
    _counter(
        "relay_notices_total",
        "Mails of the relay's own to senders and contacts: `taken`, `repeat` (taken before), `dropped`.",
        "result",
    ),
    _counter(
        "relay_feedback_total",
        "Mail that came back, by what became of it; `limited`: an answer too many to be forwarded.",
        "result",
    ),
    # events
    _counter("relay_events_published_total", "Events published, by destination.", "destination"),
    _counter("relay_events_failures_total", "Publications that failed and are tried again.", "destination"),
    _counter("relay_events_applied_total", "Events that took effect, by file of effects.", "applier"),
    _counter(
        "relay_events_applier_failures_total", "Batches that could not take effect and are tried again.", "applier"
    ),
    _counter(
        "relay_events_applier_skipped_total",
        "Events left out because of a fault of the relay: see the log.",
        "applier",
    ),
    _counter(
        "relay_events_dropped_total",
        "Events dropped at the bounds of the event queue, by destination; see `event_queue`.",
        "destination",
    ),
    _counter("relay_events_dead_total", "Events that became dead letters, by destination.", "destination"),
    _gauge("relay_events_backlog", "Events not yet published, by destination.", "destination"),
    _gauge("relay_events_dead_letters", "Dead letters, by destination.", "destination"),
    _gauge("relay_events_lag_seconds", "Age of the oldest event not yet published, by destination.", "destination"),
    *(
        _counter(
            f"relay_ses_{name}_total",
            f"`{kind}` events by account; also, apart, by the dimensions of each metrics destination (labels). "
            "A series appears with its first event.",
            "account",
        )
        for name, kind in SES_COUNTERS.items()
    ),
    _counter(
        "relay_ses_series_dropped_total",
        "Events that metrics destinations left out because they had as many series as `event_metrics` allows.",
        "account",
        "configuration_set",
        "destination",
    ),
    # topics
    _counter("relay_topic_published_total", "Publications to a topic.", "account", "topic"),
    _counter("relay_topic_denied_total", "Publications that the policy of a topic denied.", "account", "topic"),
    _counter(
        "relay_topic_filtered_total", "Notifications a filter policy kept back.", "account", "topic", "subscription"
    ),
    _counter("relay_topic_delivered_total", "Notifications delivered.", "account", "topic", "subscription"),
    _counter(
        "relay_topic_failed_total", "Failed tries to deliver a notification.", "account", "topic", "subscription"
    ),
    _counter(
        "relay_topic_retried_total",
        "Failed tries after which another one follows.",
        "account",
        "topic",
        "subscription",
    ),
    _counter(
        "relay_topic_dead_lettered_total",
        "Notifications whose retries came to an end, kept as dead letters or in a queue.",
        "account",
        "topic",
        "subscription",
    ),
    _counter(
        "relay_topic_pages_total",
        "Visits to links of topics by outcome: `shown`, `confirmed`, `ended`, `refused`, `failed`.",
        "outcome",
    ),
    # history
    _gauge("relay_history_bytes", "Size of what is kept for search, by kind: `messages`, `events`.", "kind"),
    _gauge("relay_history_oldest_seconds", "Age of the oldest day that is kept for search, by kind.", "kind"),
    # permits
    _counter("relay_permits_total", "Requests for a permit by answer: `granted`, `rate`, `quota`, `away`.", "answer"),
    _gauge("relay_permits_up", "1 while permits answers.", combine=Combine.MAX),
    # lanes
    _gauge("relay_lanes_known", "Lanes in use or remembered: a source address and a destination each."),
    _gauge("relay_lanes_connections", "Connections that workers hold of all lanes."),
    _gauge("relay_lanes_waiting", "Lanes on which a worker waits for a connection or a message."),
    _gauge(
        "relay_reputation_bounce_rate",
        "Hard bounces among the messages of the representative volume, 0 to 1, by account and configuration set "
        "(empty: the whole account; others have reputation metrics switched on); of the 400 that send most.",
        "account",
        "configuration_set",
    ),
    _gauge(
        "relay_reputation_complaint_rate",
        "Complaints among the messages to providers that report them, as the bounce rate.",
        "account",
        "configuration_set",
    ),
    _counter(
        "relay_reputation_steps_total",
        "What the relay itself did about how accounts send: cases by kind and by the state they came to.",
        "kind",
        "state",
    ),
    _gauge("relay_alarms", "Alarms of all accounts (`relay alarm`), by the state they are in.", "state"),
    _counter("relay_alarm_actions_total", "Pauses that alarms began, by action.", "action"),
    _counter(
        "relay_alarm_messages_total",
        "Messages about alarms that changed: `published` to their topics, or `refused` by them.",
        "told",
    ),
    _gauge("relay_snds_rcpt_commands", f"RCPT commands from {_SNDS}", "address"),
    _gauge("relay_snds_data_commands", f"DATA commands from {_SNDS}", "address"),
    _gauge("relay_snds_message_recipients", f"Recipients of messages from {_SNDS}", "address"),
    _gauge(
        "relay_snds_spam_rate",
        f"What Microsoft took for spam: 0 (below 10 %), 0.5, or 1 (90 % or more), from {_SNDS}",
        "address",
    ),
    _gauge(
        "relay_snds_complaint_rate", f"Share of messages complained about (0: below 0.1 %), from {_SNDS}", "address"
    ),
    _gauge("relay_snds_trap_hits", f"Messages to spamtraps from {_SNDS}", "address"),
    _gauge("relay_snds_read_seconds", "When the SNDS feed was read last, in seconds since 1970."),
    _gauge("relay_lanes_slowed", "Lanes that use a part of their limits only, because a provider asked for it."),
    _gauge("relay_lane_effects", "What providers asked for and still holds, by kind.", "kind"),
    # warm-up
    _counter(
        "relay_warmup_total",
        "Requests for room in a warm-up by answer: `room`, `full` (today's is used up).",
        "answer",
    ),
    _gauge("relay_warmup_waiting", "Deliveries that wait for room in a warm-up."),
    _counter(
        "relay_warmup_overdue_total",
        "Times that more mail of a pool waited for a warm-up than can leave in its lifetime, once in ten minutes.",
    ),
    _counter("relay_warmup_holds_total", "Times that answers of receivers set the warm-up of an address back."),
    # processes
    _gauge("relay_build_info", "1, with the version in its label.", "version", combine=Combine.MAX),
    _gauge("relay_process_up", "1 while a process is ready, 0 else.", "process"),
    _counter("relay_process_restarts_total", "Times a process was started again.", "process"),
    _gauge("relay_process_heartbeat_seconds", "Time since the event loop of a process last turned.", "process"),
    _gauge("relay_process_sessions", "Open sessions of a process.", "process"),
    _gauge("relay_connections_limit", "`limits.connections_max`.", combine=Combine.MAX),
    _gauge("relay_sessions_stressed", "1 while over 80 % of the connections are in use.", combine=Combine.MAX),
    _gauge("relay_draining", "1 while the relay drains.", combine=Combine.MAX),
    _histogram("relay_loop_lag_seconds", "How late timers of a process fire.", _FAST),
    _gauge(
        "relay_certificate_expires_seconds", "When the certificate ends, in seconds since 1970.", combine=Combine.MAX
    ),
    _counter("relay_log_lines_dropped_total", "Log lines that a stalled reader left no room for."),
)

BY_NAME: dict[str, Family] = {family.name: family for family in FAMILIES}
