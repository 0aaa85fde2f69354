"""From the configuration to the plain values that the parts take: one function for each of them.

The parts know nothing of the configuration; a reload makes these values anew and hands them over.
"""

from collections.abc import Sequence
from pathlib import Path

from pydantic import SecretStr

from relay.errors import ConfigurationError
from relay.mail.attachments import ContentRules
from relay.mail.compose import ShapeRules
from relay.mail.letter import Letter, Letterhead
from relay.mail.notices import address_expired, state_change
from relay.model.check import CheckState, StateChange
from relay.model.pool import WarmUp
from relay.net.clamd import ClamdScanner
from relay.net.resolver import ResolverSettings
from relay.net.rspamd import RspamdScanner
from relay.pipeline.attempt_settings import OutboundSettings
from relay.pipeline.notices import NoticeRules
from relay.pipeline.promise import AcceptRules
from relay.pipeline.receive import ReceiveRules
from relay.pipeline.screen import Scanning
from relay.policy.quota_rules import LowerRule, RaiseRule
from relay.policy.tls_policy import DomainRule, TlsNeed, TlsRules
from relay.ports import Metrics, Scanner
from relay.runtime.config.incoming import AuthLimits
from relay.runtime.config.incoming import Listener as ListenerConfig
from relay.runtime.config.model import Config
from relay.runtime.config.outgoing import Route as RouteConfig
from relay.runtime.config.publishing import Stream as StreamConfig
from relay.runtime.config.scanning import Scanner as ScannerConfig
from relay.schedule.retry import RetryPolicy
from relay.schedule.route import Route
from relay.schedule.route import TlsMode as OutboundTls
from relay.schedule.throttle import FailureLimits
from relay.schedule.warmup import OTHER, SHARES, Schedule
from relay.schedule.warmup import Rules as WarmUpRules
from relay.signing.sealed_file import FileSealer, key_of
from relay.signing.secrets import decode_master_key, derive
from relay.smtp.client.envelope import Downgrade
from relay.smtp.client.options import Timeouts
from relay.smtp.server.policy import ListenerKind, SessionPolicy, TlsMode
from relay.store.catalog_address_values import Declared
from relay.store.housekeeping import Retention
from relay.store.retention import Bounds, Keep
from relay.store.spool import SpoolOptions

MASTER_KEY_MAX_BYTES = 4096
RETURN_PATH_PURPOSE = "relay return path"
PIN_PURPOSE = "relay source address"
FEEDBACK_ID_PURPOSE = "relay feedback id"
SEARCH_PURPOSE = "relay search"
HISTORY_GIVES_WAY = 1.5  # times the free space below which no mail is taken
DAY_SECONDS = 86_400


def session_policy(config: Config, listener: ListenerConfig, instance: str) -> SessionPolicy:
    """Return what a listener asks of its sessions."""
    limits, smtp, trust = config.limits, config.smtp, listener.trust
    return SessionPolicy(
        hostname=config.hostname,
        kind=ListenerKind(listener.kind),
        tls=TlsMode(listener.tls),
        instance=instance,
        trusted_networks=_texts(trust.networks) if trust else (),
        trusted_account=trust.account if trust else "",
        auth_in_clear=listener.tls == "none" and listener.loopback,
        message_size_max=limits.message_size_max,
        recipients_max=limits.smtp_recipients_max,
        recipient_limit_reply=smtp.recipient_limit_reply,
        null_sender=smtp.null_sender == "accept",
        smtputf8=smtp.smtputf8,
        enhanced_codes=smtp.enhanced_codes,
        dsn=smtp.dsn,
        chunking=smtp.chunking,
        limits=smtp.limits,
        hold_seconds_max=int(smtp.future_release_max),
        deliver_by=smtp.deliver_by,
        allowed_networks=_texts(listener.allow),
        denied_networks=_texts(listener.deny),
        proxy_networks=_texts(listener.proxy_protocol.networks) if listener.proxy_protocol else (),
        xclient_networks=_texts(listener.xclient.networks) if listener.xclient else (),
        xclient_login=listener.xclient is not None and listener.xclient.login,
        errors_max=limits.errors_max,
        junk_commands_max=limits.junk_commands_max,
        messages_max=smtp.max_messages_per_session,
        session_seconds_max=smtp.max_session_seconds,
        idle_timeout_seconds=limits.idle_timeout,
        command_deadline_seconds=limits.command_timeout,
        data_block_timeout_seconds=limits.data_timeout,
        data_rate_min=limits.data_rate_min,
    )


def _texts(networks: Sequence[object]) -> tuple[str, ...]:
    return tuple(str(network) for network in networks)


def accept_rules(config: Config, master: bytes) -> AcceptRules:
    """Return what accepting a message goes by."""
    headers = config.headers
    return AcceptRules(
        region=config.region,
        shape=ShapeRules(
            hostname=config.hostname,
            received_client=config.smtp.received_client,
            replace_date=headers.date == "replace",
            replace_message_id=headers.message_id == "replace",
            content=ContentRules(frozenset(config.content.refused_extensions)),
            outgoing_field=headers.outgoing,
            feedback_id_field=headers.feedback_id,
            feedback_brand=headers.feedback_brand,
            feedback_key=derive(master, FEEDBACK_ID_PURPOSE),
            region=config.region,
        ),
        lifetime_ms=int(config.delivery.lifetime * 1000),
        recipients_max=config.limits.smtp_recipients_max,
        relay_signature=config.dkim.relay_signature,
        ed25519=config.dkim.ed25519,
        dkim_expire_s=dkim_expire_seconds(config),
        pin_key=derive(master, PIN_PURPOSE),
    )


def raise_rule(config: Config) -> RaiseRule | None:
    """Return when limits of accounts rise, None: never."""
    rule = config.quota_rules.increase
    if not rule.enabled:
        return None
    return RaiseRule(
        near=rule.near,
        factor=1 + rule.by,
        daily_max=rule.daily_max,
        interval_ms=int(rule.interval * 1000),
        bounce_rate_max=rule.bounce_rate_max,
        complaint_rate_max=rule.complaint_rate_max,
        outside_share_min=rule.outside_share_min,
    )


def lower_rule(config: Config) -> LowerRule | None:
    """Return when limits of accounts fall, None: never."""
    rule = config.quota_rules.decrease
    if not rule.enabled:
        return None
    return LowerRule(
        bounce_rate=rule.bounce_rate,
        complaint_rate=rule.complaint_rate,
        sent_min=rule.sent_min,
        factor=1 - rule.by,
        interval_ms=int(rule.interval * 1000),
    )


def dkim_expire_seconds(config: Config) -> int:
    """Return how long signatures hold, 0 for ever; never less than the queue may take, and a day for slow readers."""
    if not config.dkim.expire_after:
        return 0
    return int(max(config.dkim.expire_after, config.delivery.lifetime + DAY_SECONDS))


def declared_addresses(config: Config) -> tuple[Declared, ...]:
    """Return the source addresses that the configuration names."""
    return tuple(
        Declared(one.address, one.ehlo_name, one.weight, *_warm_up(one.warmup))
        for one in config.delivery.source_addresses
    )


def _warm_up(value: str | None) -> tuple[WarmUp | None, int | None]:
    if value is None:
        return None, None
    return (WarmUp(value), None) if value in set(WarmUp) else (WarmUp.PERCENT, int(value.rstrip("%")))


def retry_policy(config: Config) -> RetryPolicy:
    """Return when deliveries are tried again."""
    return RetryPolicy(
        waits_ms=tuple(int(wait * 1000) for wait in config.delivery.retry),
        jitter_share=2 * config.delivery.retry_jitter_percent / 100,
        nxdomain_bounces=config.dns.nxdomain == "bounce",
        nxdomain_recheck_ms=int(config.dns.nxdomain_recheck * 1000),
    )


def failure_limits(limits: AuthLimits) -> FailureLimits:
    """Return how failed logins are limited."""
    return FailureLimits(
        minute_max=limits.failures_per_minute,
        day_max=limits.failures_per_day,
        delay_from=limits.delay_from,
        delay_seconds=limits.delay,
    )


def master_key(data_dir: Path) -> bytes:
    """Return the master key. Raise ConfigurationError when it is missing or unreadable."""
    path = data_dir / "keys" / "master.key"
    try:
        with path.open("rb") as file:
            return decode_master_key(file.read(MASTER_KEY_MAX_BYTES), path)
    except OSError as error:
        raise ConfigurationError(
            f"The master key {path} cannot be read ({error.strerror}): restore keys/ from your backup, or make a new "
            "relay in another directory with `relay init DIR`."
        ) from error


def receive_rules(config: Config, master: bytes) -> ReceiveRules:
    """Return what mail for the relay itself goes by."""
    return ReceiveRules(
        hostname=config.hostname,
        bounce_domain=config.bounce_domain,
        contact=config.contact,
        retention_ms=int(config.feedback.retention * 1000),
        token_key=derive(master, RETURN_PATH_PURPOSE),
    )


def notice_rules(config: Config) -> NoticeRules:
    """Return what sending the relay's own mail goes by."""
    return NoticeRules(config.hostname, config.notifications.sender)


def letterhead(config: Config) -> Letterhead:
    """Return who writes the relay's own mail."""
    own = config.notifications
    return Letterhead(own.product_name, config.region, config.hostname, own.sender, config.contact)


def verification_url(config: Config, token: str) -> str:
    """Return the page of a verification link."""
    return f"{config.http.public_url}/verify/{token}"


def tell_of_address(letterhead: Letterhead, now_ms: int, contact: str, change: StateChange) -> Letter:
    """Return the mail to a contact about the end of an address's verification."""
    if change.state is CheckState.FAILED:
        return address_expired(letterhead, contact, change.account, change.identity, now_ms=now_ms)
    return state_change(letterhead, contact, change, now_ms=now_ms)


def spool_options(config: Config, metrics: Metrics, master: bytes) -> SpoolOptions:
    """Return how a shard is kept."""
    retention = Retention(keep=kept(config), dedupe_days=round(config.feedback.retention / DAY_SECONDS) + 5)
    return SpoolOptions(
        disk_free_min_bytes=config.limits.disk_free_min,
        retention=retention,
        metrics=metrics,
        search_key=derive(master, SEARCH_PURPOSE),
    )


def kept(config: Config) -> Keep:
    """Return how long history and archived events are kept."""
    history = config.history
    # A bounce that comes back is matched with its message from history.
    messages = Bounds(_days(max(history.retention, config.feedback.retention)), history.size_max)
    events = Bounds(_days(history.events_retention), history.events_size_max)
    return Keep(messages, events, round(config.limits.disk_free_min * HISTORY_GIVES_WAY))


def _days(seconds: float) -> int:
    return max(1, round(seconds / DAY_SECONDS))


def resolver_settings(config: Config) -> ResolverSettings:
    """Return how names are looked up."""
    return ResolverSettings(
        nameservers=tuple(str(server) for server in config.dns.nameservers),
        timeout_seconds=config.dns.timeout,
        cache_entries_max=config.dns.cache_entries_max,
        ipv6=config.delivery.ipv6,
        trust_ad={"yes": True, "no": False}.get(config.dns.trust_ad),
    )


def own_names(config: Config) -> tuple[str, ...]:
    """Return the domains that are the relay's own, with all below them."""
    return (config.hostname, config.bounce_domain)


def outbound_settings(config: Config, downgrade: Downgrade) -> OutboundSettings:
    """Return how mail leaves."""
    delivery, times = config.delivery, config.delivery.timeouts
    return OutboundSettings(
        helo_name=config.hostname,
        own_names=frozenset({config.hostname}),
        port=delivery.port,
        routes=tuple(_route(route) for route in config.routes),
        tls=OutboundTls(delivery.starttls),
        tls_rules=tls_rules(config),
        dane=delivery.dane,
        tls_failure_memory_seconds=delivery.starttls_failure_memory,
        connections_per_site=delivery.connections_per_site,
        connections_max=delivery.connections_max,
        messages_per_connection=delivery.messages_per_connection,
        connection_idle_seconds=delivery.connection_idle,
        addresses_per_attempt=delivery.hosts_per_attempt,
        connect_timeout_seconds=times.connect,
        ipv6=delivery.ipv6,
        prefer_ipv6=delivery.prefer_ipv6,
        timeouts=Timeouts(
            greeting=times.greeting,
            ehlo=times.ehlo,
            tls=times.tls,
            auth=times.ehlo,
            mail=times.mail,
            rcpt=times.rcpt,
            data=times.data,
            block=times.data_block,
            final_dot=times.data_end,
        ),
        downgrade=downgrade,
    )


def tls_rules(config: Config) -> TlsRules:
    """Return what the operator says about TLS to mail exchangers."""
    return TlsRules(
        minimum=config.delivery.tls_minimum,
        minimum_required=config.delivery.tls_minimum_required,
        domains=tuple(
            DomainRule(one.domain, TlsNeed(one.tls), one.minimum_version or "") for one in config.tls_policies
        ),
    )


def _route(route: RouteConfig) -> Route:
    return Route(
        domain=route.domain,
        host=route.smarthost.host,
        port=route.smarthost.port,
        tls=OutboundTls(route.tls),
        username=route.username,
        password=secret_of(route.password, route.password_file, f"the route for {route.domain}"),
        several_recipients=route.return_path == "original",
    )


def scanners(config: Config) -> tuple[Scanning, ...]:
    """Return what messages are scanned by. Raise ConfigurationError when a password cannot be read."""
    return tuple(
        Scanning(_scanner(one), defers=one.on_error == "defer", reject_score=one.reject_score)
        for one in config.content.scanners
    )


def _scanner(scanner: ScannerConfig) -> Scanner:
    if scanner.type == "clamav":
        return ClamdScanner(scanner.address or "", scanner.timeout)
    password = secret_of(scanner.password, scanner.password_file, "the scanner rspamd")
    return RspamdScanner(scanner.url or "", scanner.timeout, password)


def secret_of(given: SecretStr, file: Path | None, whose: str) -> str:
    """Return a password or other secret, from its file where it has one. Raise ConfigurationError."""
    if file is None:
        return given.get_secret_value()
    try:
        return file.read_text(encoding="utf-8").partition("\n")[0].strip()
    except OSError as error:
        raise ConfigurationError(f"The password file {file} of {whose} cannot be read: {error.strerror}.") from error


def stream_sealer(stream: StreamConfig) -> FileSealer | None:
    """Return what encrypts the files of a stream, None where nothing does. Raise ConfigurationError."""
    file = stream.encryption_key_file
    if file is None:
        return None
    text = secret_of(SecretStr(""), file, f"the stream {stream.name}")
    return FileSealer(key_of(text, f"The key in {file}, of the stream {stream.name},"))


def warmup_rules(config: Config) -> WarmUpRules:
    """Return how source addresses are warmed up."""
    own = config.warmup
    schedules = {"default": Schedule(), **{one.name: Schedule(one.name, tuple(one.volumes)) for one in own.schedules}}
    shares = {one.provider: 100 * one.share for one in own.shares} or dict(SHARES)
    return WarmUpRules(
        schedules=schedules,
        schedule_default=own.schedule,
        addresses={str(one.address): one.schedule for one in own.addresses},
        shares={**shares, OTHER: shares.get(OTHER, 0.0)},
        health=own.health.enabled,
        bounce_percent=100 * own.health.bounce_rate,
        block_percent=100 * own.health.block_rate,
        complaint_percent=100 * own.health.complaint_rate,
        attempts_min=own.health.attempts_min,
        step_back_days=own.health.step_back,
    )


def sampled_per_hour(config: Config) -> int:
    """Return how many messages of an account each worker keeps in an hour."""
    asks = config.reputation.enabled and bool(config.own_checks.domain_lists)
    return config.reputation.sampled_per_hour if asks else 0
