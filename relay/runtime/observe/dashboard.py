"""The Grafana dashboards, made from tables of panels: `python -m relay.runtime.observe.dashboard [events] > FILE`.

Rows follow a message: taken, queued, sent, told, judged; then the machine. A panel is what to look at first when its
alert fires (`config/prometheus/relay.rules.yaml`).
"""

import json
import sys
from dataclasses import dataclass
from typing import Any

WIDTH = 24  # columns of a dashboard
PANEL_WIDTH = 8
PANEL_HEIGHT = 8
_BOUNCED = 'sum(rate(relay_deliveries_total{state="bounced"}[1h]))'
_SOURCE = {"type": "prometheus", "uid": "${source}"}


@dataclass(frozen=True, slots=True)
class Panel:
    """One graph: its title, unit (Grafana's name), and queries with their legends."""

    title: str
    unit: str
    queries: tuple[tuple[str, str], ...]


def _by(metric: str, label: str, *, window: str = "5m") -> tuple[str, str]:
    return f"sum by ({label}) (rate({metric}[{window}]))", f"{{{{{label}}}}}"


def _quantiles(metric: str) -> tuple[tuple[str, str], ...]:
    return tuple(
        (f"histogram_quantile({quantile}, sum by (le) (rate({metric}_bucket[5m])))", f"p{quantile * 100:g}")
        for quantile in (0.5, 0.99)
    )


ROWS: tuple[tuple[str, tuple[Panel, ...]], ...] = (
    (
        "Taken",
        (
            Panel("Messages accepted", "ops", (_by("relay_messages_accepted_total", "protocol"),)),
            Panel("Messages refused", "ops", (_by("relay_messages_refused_total", "reason"),)),
            Panel("From the end of the data to the reply", "s", _quantiles("relay_accept_seconds")),
            Panel("Sessions open", "short", (("sum by (listener) (relay_sessions_open)", "{{listener}}"),)),
            Panel("Logins", "ops", (_by("relay_auth_total", "result"),)),
            Panel("Permits", "ops", (_by("relay_permits_total", "answer"),)),
        ),
    ),
    (
        "Queued",
        (
            Panel("Deliveries on disk", "short", (("sum by (state) (relay_queue_deliveries)", "{{state}}"),)),
            Panel(
                "Oldest",
                "s",
                (
                    ("relay_queue_oldest_seconds", "since acceptance"),
                    ("relay_queue_oldest_due_seconds", "since it was due"),
                ),
            ),
            Panel("Commit with its sync", "s", _quantiles("relay_commit_seconds")),
        ),
    ),
    (
        "Sent",
        (
            Panel("Deliveries that ended", "ops", (_by("relay_deliveries_total", "state"),)),
            Panel("Attempts", "ops", (_by("relay_attempts_total", "verdict"),)),
            Panel("From acceptance to delivery", "s", _quantiles("relay_delivery_seconds")),
            Panel(
                "Lanes",
                "short",
                (
                    ("relay_lanes_connections", "connections"),
                    ("relay_lanes_waiting", "waiting"),
                    ("relay_lanes_slowed", "slowed by providers"),
                ),
            ),
            Panel("What providers asked for", "ops", (_by("relay_shaping_effects_total", "kind"),)),
            Panel(
                "Warm-up",
                "short",
                (
                    ("relay_warmup_waiting", "waiting for room"),
                    ("increase(relay_warmup_holds_total[1h])", "held in the last hour"),
                ),
            ),
            Panel("TLS of deliveries", "ops", (_by("relay_delivery_tls_total", "version"),)),
            Panel("TLS policies that failed", "ops", (_by("relay_tls_policy_failures_total", "result"),)),
            Panel("Questions to name servers", "ops", (_by("relay_dns_queries_total", "result"),)),
        ),
    ),
    (
        "Told",
        (
            Panel("Events published", "ops", (_by("relay_events_published_total", "destination"),)),
            Panel("Events that wait", "short", (("sum by (destination) (relay_events_backlog)", "{{destination}}"),)),
            Panel("Events that took effect", "ops", (_by("relay_events_applied_total", "applier"),)),
            Panel("Came back", "ops", (_by("relay_feedback_total", "result"),)),
            Panel("Reports to senders", "ops", (_by("relay_reports_total", "kind"),)),
        ),
    ),
    (
        "Judged",
        (
            Panel(
                "Bounces",
                "percentunit",
                (
                    (
                        f"{_BOUNCED} / sum(rate(relay_deliveries_total[1h]))",
                        "of deliveries in an hour",
                    ),
                ),
            ),
            Panel(
                "Bounce rates of accounts",
                "percentunit",
                (('relay_reputation_bounce_rate{configuration_set=""}', "{{account}}"),),
            ),
            Panel(
                "Complaint rates of accounts",
                "percentunit",
                (('relay_reputation_complaint_rate{configuration_set=""}', "{{account}}"),),
            ),
            Panel(
                "Rates of configuration sets",
                "percentunit",
                (
                    (
                        'relay_reputation_bounce_rate{configuration_set!=""}',
                        "{{account}} {{configuration_set}}: bounces",
                    ),
                    (
                        'relay_reputation_complaint_rate{configuration_set!=""}',
                        "{{account}} {{configuration_set}}: complaints",
                    ),
                ),
            ),
            Panel("Alarms", "short", (("relay_alarms", "{{state}}"),)),
            Panel(
                "Outlook: taken for spam, complaints (SNDS)",
                "percentunit",
                (
                    ("relay_snds_spam_rate", "{{address}}: spam"),
                    ("relay_snds_complaint_rate", "{{address}}: complaints"),
                ),
            ),
            Panel(
                "Outlook: commands and traps (SNDS)",
                "short",
                (
                    ("relay_snds_rcpt_commands", "{{address}}: RCPT"),
                    ("relay_snds_data_commands", "{{address}}: DATA"),
                    ("relay_snds_trap_hits", "{{address}}: traps"),
                ),
            ),
            Panel("Replies that name a block list", "ops", (_by("relay_blocklisted_total", "list"),)),
            Panel(
                "The relay as receivers see it",
                "short",
                (('sum by (check, grade) (relay_own_checks{grade!="ok"})', "{{check}}: {{grade}}"),),
            ),
        ),
    ),
    (
        "Machine",
        (
            Panel("Processes", "short", (("relay_process_up", "{{process}}"),)),
            Panel("Restarts", "short", (("increase(relay_process_restarts_total[1h])", "{{process}}"),)),
            Panel("How late timers fire", "s", _quantiles("relay_loop_lag_seconds")),
        ),
    ),
)


_CHOICES: tuple[dict[str, Any], ...] = (
    {"name": "source", "label": "Source", "type": "datasource", "query": "prometheus"},
)
EVENTS = (
    "send",
    "delivery",
    "delivery_delay",
    "bounce",
    "complaint",
    "reject",
    "open",
    "click",
    "rendering_failure",
    "subscription",
)


def dashboard() -> dict[str, Any]:
    """Return the dashboard of the relay as Grafana imports it."""
    return _dashboard("Relay", "relay", ROWS, _CHOICES)


def events_dashboard() -> dict[str, Any]:
    """Return the dashboard of events by a dimension of metrics destinations, chosen at its top (ANALYT-005)."""
    query = 'sum by (${{dimension}}) (increase(relay_ses_{0}_total{{${{dimension}}!=""}}[$__rate_interval]))'
    panels = tuple(
        Panel(name.replace("_", " ").capitalize(), "short", ((query.format(name), "{{${dimension}}}"),))
        for name in EVENTS
    )
    chosen = {"name": "dimension", "label": "Dimension", "type": "textbox", "query": "campaign"}
    return _dashboard("Relay: events", "relay-events", (("Events by dimension", panels),), (*_CHOICES, chosen))


def _dashboard(
    name: str, uid: str, rows: "tuple[tuple[str, tuple[Panel, ...]], ...]", choices: tuple[dict[str, Any], ...]
) -> dict[str, Any]:
    panels: list[dict[str, Any]] = []
    top = 0
    for title, row in rows:
        panels.append({"type": "row", "title": title, "gridPos": {"h": 1, "w": WIDTH, "x": 0, "y": top}})
        top += 1
        for number, panel in enumerate(row):
            across, down = number % (WIDTH // PANEL_WIDTH), number // (WIDTH // PANEL_WIDTH)
            panels.append(_panel(panel, across * PANEL_WIDTH, top + down * PANEL_HEIGHT))
        top += -(-len(row) // (WIDTH // PANEL_WIDTH)) * PANEL_HEIGHT
    return {
        "title": name,
        "uid": uid,
        "tags": ["mail"],
        "schemaVersion": 39,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "templating": {"list": list(choices)},
        "panels": [{"id": number, **panel} for number, panel in enumerate(panels, 1)],
    }


def _panel(panel: Panel, left: int, top: int) -> dict[str, Any]:
    return {
        "type": "timeseries",
        "title": panel.title,
        "datasource": _SOURCE,
        "gridPos": {"h": PANEL_HEIGHT, "w": PANEL_WIDTH, "x": left, "y": top},
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
        "targets": [
            {"refId": chr(ord("A") + number), "expr": query, "legendFormat": legend, "datasource": _SOURCE}
            for number, (query, legend) in enumerate(panel.queries)
        ],
    }


if __name__ == "__main__":
    shown = events_dashboard() if sys.argv[1:] == ["events"] else dashboard()
    sys.stdout.write(json.dumps(shown, indent=1) + "\n")
