"""Every pluggable interface, with its contract in prose. Each port has a shipped fake and a contract test.

Two styles are used on purpose. What is asked for once a message answers through a callback, because a task or
a future for each message costs more than the work itself. What is asked for rarely is a coroutine.
Callbacks are always called on the event loop's thread, exactly once, and never from inside the call that took
them unless the port says so.
"""

from relay.ports.catalog import Authenticator, Directory, SigningKey
from relay.ports.connections import SOURCE_GONE, Connector, Link, LinkOptions, LinkUser
from relay.ports.delivery import Departures, Job, Outbound, Release
from relay.ports.dns import MailHost, MailHosts, Resolver, ResolverError, StsAnswer, StsPolicies
from relay.ports.doors import Confirmations, Intake
from relay.ports.environment import Clock, Json, Log, Metrics
from relay.ports.events import Applier, EventDestination, EventSource
from relay.ports.permits import AuthGate, Lease, Permits
from relay.ports.scanners import Scanner
from relay.ports.spool import Done, Inbox, Record, Recorded, Spool

__all__ = [
    "SOURCE_GONE",
    "Applier",
    "AuthGate",
    "Authenticator",
    "Clock",
    "Confirmations",
    "Connector",
    "Departures",
    "Directory",
    "Done",
    "EventDestination",
    "EventSource",
    "Inbox",
    "Intake",
    "Job",
    "Json",
    "Lease",
    "Link",
    "LinkOptions",
    "LinkUser",
    "Log",
    "MailHost",
    "MailHosts",
    "Metrics",
    "Outbound",
    "Permits",
    "Record",
    "Recorded",
    "Release",
    "Resolver",
    "ResolverError",
    "Scanner",
    "SigningKey",
    "Spool",
    "StsAnswer",
    "StsPolicies",
]
