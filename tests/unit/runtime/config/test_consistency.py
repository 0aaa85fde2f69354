"""Settings that contradict each other."""

from pathlib import Path

import pytest

from relay.runtime.config.faults import InvalidConfigurationError
from relay.runtime.config.load import parse

HOST = "hostname: relay.example\n"
TRUST = "trust: {networks: [10.0.0.0/8], account: 000000000001}"


def problems(text: str) -> str:
    with pytest.raises(InvalidConfigurationError) as caught:
        parse(HOST + text, Path("relay.yaml"))
    return str(caught.value)


def fine(text: str) -> None:
    parse(HOST + text, Path("relay.yaml"))


@pytest.mark.parametrize(
    "listener",
    [
        "{kind: submission, address: 0.0.0.0, port: 25, tls: none}",
        "{kind: submission, address: '::', port: 25, tls: none}",
        "{kind: console, address: 10.0.0.1, port: 8081}",
    ],
)
def test_passwords_never_travel_in_clear(listener):
    assert "would carry passwords in clear" in problems(f"listeners: [{listener}]")


@pytest.mark.parametrize(
    "listener",
    [
        "{kind: submission, address: 127.0.0.2, port: 25, tls: none}",
        "{kind: submission, address: '::1', port: 25, tls: none}",
        "{kind: submission, address: 0.0.0.0, port: 25, tls: none, " + TRUST + "}",
        "{kind: mx, address: 0.0.0.0, port: 25, tls: none}",
        "{kind: metrics, address: 0.0.0.0, port: 9090, allow_remote: true}",
        "{kind: metrics, address: 127.0.0.1, port: 9090, tls: implicit}",
    ],
)
def test_listeners_that_are_fine(listener):
    fine(f"listeners: [{listener}]")


@pytest.mark.parametrize("address", ["0.0.0.0", "192.0.2.1", "'::'"])
def test_metrics_stay_on_loopback(address):
    found = problems(f"listeners: [{{kind: metrics, address: {address}, port: 9090}}]")
    assert "relay.yaml:2: listeners[0].address: " in found.replace(str(Path.cwd()) + "/", "")
    assert "add `allow_remote: true`" in found


@pytest.mark.parametrize("kind", ["mx", "http", "console", "metrics"])
def test_trust_belongs_to_submission(kind):
    assert f"not to `{kind}`" in problems(f"listeners: [{{kind: {kind}, port: 25, {TRUST}}}]")


@pytest.mark.parametrize("network", ["0.0.0.0/0", "'::/0'"])
def test_trusting_everybody_is_an_open_relay(network):
    trust = f"trust: {{networks: [{network}], account: 000000000001}}"
    assert "open relay" in problems(f"listeners: [{{kind: submission, port: 25, {trust}}}]")


@pytest.mark.parametrize(
    "part", ["networks: [10.0.0.0/8]", "account: 000000000001", "networks: [], account: 000000000001"]
)
def test_trust_needs_networks_and_an_account(part):
    assert "listeners[0].trust." in problems(f"listeners: [{{kind: submission, port: 25, trust: {{{part}}}}}]")


@pytest.mark.parametrize(
    ("one", "other", "clash"),
    [
        ("127.0.0.1", "127.0.0.1", True),
        ("0.0.0.0", "127.0.0.1", True),
        ("127.0.0.1", "0.0.0.0", True),
        ("'::'", "'::1'", True),
        ("'::'", "0.0.0.0", False),
        ("127.0.0.1", "127.0.0.2", False),
    ],
)
def test_two_listeners_at_one_place(one, other, clash):
    text = f"listeners: [{{kind: mx, address: {one}, port: 25}}, {{kind: mx, address: {other}, port: 25}}]"
    if clash:
        assert "listeners[1].port: " in problems(text)
    else:
        fine(text)


def test_starttls_is_for_smtp():
    assert "starttls is SMTP's" in problems("listeners: [{kind: http, port: 8080, tls: starttls}]")


def test_a_relay_needs_a_listener():
    assert "listeners: must have at least 1 entry" in problems("listeners: []")


@pytest.mark.parametrize(
    ("route", "problem"),
    [
        ("username: u, tls: require", "needs `password` or `password_file`"),
        ("password: p", "needs `username`"),
        ("password_file: p", "needs `username`"),
        ("username: u, password: p, password_file: f, tls: require", "keep one of them"),
        ("username: u, password: p, tls: none", "must be `require` or `implicit` with a password"),
        ("username: u, password: p", "must be `require` or `implicit` with a password"),
    ],
)
def test_routes_with_half_a_login(route, problem):
    assert problem in problems(f"routes: [{{domain: a.example, smarthost: mail.example, {route}}}]")


def test_a_login_at_a_loopback_smart_host_may_be_in_clear():
    fine("routes: [{domain: a.example, smarthost: '127.0.0.1:25', username: u, password: p}]")


def test_a_login_over_implicit_tls():
    fine("routes: [{domain: a.example, smarthost: mail.example, username: u, password: p, tls: implicit}]")


@pytest.mark.parametrize("tls", ["none", "opportunistic", "require"])
def test_port_465_is_implicit_tls(tls):
    text = f"routes: [{{domain: a.example, smarthost: 'mail.example:465', tls: {tls}}}]"
    assert "routes[0].tls: must be `implicit` for port 465" in problems(text)


def test_two_routes_for_one_domain():
    text = "routes: [{domain: a.example, smarthost: b.example}, {domain: A.example, smarthost: c.example}]"
    assert "routes[1].domain: `a.example` has a route already, routes[0]" in problems(text)


def test_two_event_destinations_of_one_name_or_file():
    found = problems("events: [{name: all, path: e.jsonl}, {name: all, path: ./e.jsonl}]")
    assert "events[1].name: `all` is taken" in found
    assert "events[1].path: " in found


def test_a_bounce_domain_leaves_room_for_the_token():
    fine("bounce_domain: " + ".".join(["a" * 61] * 3) + ".ab")
    assert "must have at most 189 characters" in problems("bounce_domain: " + ".".join(["a" * 61] * 3) + ".abcde")


def test_a_retry_cannot_spin():
    assert "delivery.retry[1]: must be at least 0.1s" in problems("delivery: {retry: [1m, 1ms]}")


def test_daily_failures_are_not_fewer_than_those_of_a_minute():
    assert "failures_per_day: must not be below" in problems("limits: {auth: {failures_per_minute: 60}}")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("limits: {idle_timeout: 0s}", "limits.idle_timeout: must be at least 1s"),
        ("limits: {smtp_recipients_max: 99}", "must be at least 100, not 99"),
        ("delivery: {lifetime: 31d}", "delivery.lifetime: must be at most 30d"),
        ("delivery: {port: 0}", "delivery.port: must be at least 1"),
        ("listeners: [{kind: mx, port: 65536}]", "must be at most 65535, not 65536"),
        ("listeners: [{kind: mx, port: true}]", "must be a whole number, not true"),
        ("smtp: {smtputf8: yes}", "must be true or false, not 'yes'"),
        ("smtp: {recipient_limit_reply: 450}", "must be one of 452, 554, not 450"),
        ("region: US East", "region: must be letters, digits and"),
        ("limits: 3", "limits: must be a group of settings (key: value), not 3"),
        ("routes: {}", "routes: must be a list"),
        ("routes: [~]", "routes[0]: must be a group of settings (key: value), not nothing"),
        ("events: [{name: '../x', path: a}]", "events[0].name: must be letters, digits and"),
    ],
)
def test_bounds_and_kinds(text, problem):
    assert problem in problems(text)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            "routes: [{domain: simulator.relay.example, smarthost: b.example}]",
            "routes[0].domain: belongs to the mailbox",
        ),
        (
            "routes: [{domain: Simulator.amazonses.com, smarthost: b.example}]",
            "routes[0].domain: belongs to the mailbox",
        ),
        ("bounce_domain: simulator.relay.example", "bounce_domain: belongs to the mailbox simulator"),
    ],
)
@pytest.mark.req("SIM-001")
def test_nothing_else_lives_at_the_simulator(text, problem):
    assert problem in problems(text)


@pytest.mark.parametrize(
    ("scanner", "problem"),
    [
        (
            "type: clamav, url: 'http://a.example'",
            "scanners[0].url: belongs to another type of scanner, not to `clamav`",
        ),
        ("type: clamav, reject_score: 5", "scanners[0].reject_score: belongs to another type"),
        ("type: clamav, password: secret", "scanners[0].password: belongs to another type"),
        ("type: rspamd, address: 127.0.0.1", "scanners[0].address: belongs to another type"),
        ("type: rspamd, password: a, password_file: b", "scanners[0].password_file: is given beside `password`"),
        ("type: rspamd, url: 'ftp://a.example'", "scanners[0].url: must be a URL such as http://127.0.0.1:11333"),
        ("type: rspamd, url: 'http://me:secret@a.example'", "scanners[0].url: must not hold a password"),
        ("type: rspamd, reject_score: .nan", "scanners[0].reject_score: "),
        ("type: clamav, address: 'a b'", "scanners[0].address: must be a domain name"),
        ("type: clamav, address: run/clamd.ctl", "scanners[0].address: must be a domain name"),
        ("type: clamav, timeout: 0s", "scanners[0].timeout: "),
        ("type: sophos", "scanners[0].type: "),
        ("address: 127.0.0.1", "scanners[0].type: "),
    ],
)
def test_scanners_say_what_is_wrong_with_them(scanner, problem):
    assert problem in problems(f"content: {{scanners: [{{{scanner}}}]}}")


@pytest.mark.parametrize(
    "scanner",
    [
        "type: clamav",
        "type: clamav, address: /run/clamav/clamd.ctl, timeout: 30s, on_error: accept",
        "type: clamav, address: '[::1]:3310'",
        "type: rspamd",
        "type: rspamd, url: 'https://rspamd.example/', password_file: rspamd.password, reject_score: -1.5",
        "type: rspamd, on_error: defer",
    ],
)
def test_scanners_in_every_form(scanner):
    fine(f"content: {{scanners: [{{{scanner}}}]}}")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("streams: [{name: a}, {name: a, directory: b}]", "streams[1].name: `a` is taken"),
        ("streams: [{name: a, directory: x}, {name: b, directory: x}]", "is written by another stream"),
        ("streams: [{name: a b}]", "streams[0].name"),
        ("streams: [{name: a, type: bucket}]", "streams[0].bucket: is needed"),
        ("streams: [{name: a, type: kafka}]", "streams[0].brokers: is needed"),
        ("streams: [{name: a, type: kafka, brokers: [h], topic: t, gzip: true}]", "gzip: belongs to another type"),
        ("streams: [{name: a, bucket: b}]", "bucket: belongs to another type of stream, not to `directory`"),
        ("streams: [{name: a, type: bucket, bucket: b, access_key_id: k}]", "given together"),
        ("streams: [{name: a, prefix: ../b}]", "must be a relative path"),
        ("streams: [{name: a, prefix: /b}]", "must be a relative path"),
        ("streams: [{name: a, batch_size: 1GB}]", "batch_size"),
        ("buses: [{name: a, url: 'http://h.example/'}]", "must begin with https://"),
        ("buses: [{name: a, url: 'ftp://h.example/'}]", "must begin with https:// or http://"),
        ("buses: [{name: a, url: 'https://h.example:25/'}]", "must use port 80, 443 or one above 1023"),
        ("buses: [{name: a, url: 'https://u:p@h.example/'}]", "must not hold a user name"),
        ("buses: [{name: a, url: 'https://h.example/', secret: x, secret_file: y}]", "keep one of them"),
        ("event_queue: {size_max: 10}", "event_queue.size_max"),
    ],
)
def test_streams_and_buses_that_cannot_be(text, words):
    assert words in problems(text)


def test_streams_and_buses_that_are_fine():
    fine("streams: [{name: a}, {name: b, type: bucket, bucket: c, prefix: x=1/y/, gzip: true}]")
    fine("streams: [{name: k, type: kafka, brokers: ['k.example', '[::1]:9000'], topic: t}]")
    fine("buses: [{name: default, url: 'http://127.0.0.1:8000/x', allow_private: true}]")
    fine("buses: [{name: default, url: 'https://h.example/x?y=1'}]")


def test_limits_of_reputation_do_not_contradict_each_other():
    assert "bounce_pause: must not be below bounce_review" in problems("reputation: {bounce_pause: 4%}")
    assert "complaint_pause: must not be below" in problems("reputation: {complaint_review: 1%}")
    assert "spamtrap_pause_hits: must not be" in problems("reputation: {spamtrap_hits: 5, spamtrap_pause_hits: 4}")
    assert "daily: must not be below hourly" in problems("statistics: {hourly: 90d, daily: 30d}")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "own_checks: {block_lists: [{name: A, zone: a.example}, {name: a, zone: b.example}]}",
            "own_checks.block_lists[1].name: is taken by another entry",
        ),
        (
            "own_checks: {domain_lists: [{name: A, zone: a.example}, {name: A, zone: b.example}]}",
            "own_checks.domain_lists[1].name: is taken by another entry",
        ),
        (
            "tls_policies: [{domain: a.example, tls: none}, {domain: A.example, tls: verify}]",
            "tls_policies[1].domain: has a rule already",
        ),
    ],
)
def test_no_list_or_rule_takes_the_place_of_another(text, words):
    assert words in problems(text)
