"""What a reload applies, and what it leaves to a restart."""

from pathlib import Path

import pytest

from relay.runtime.config.load import parse
from relay.runtime.config.model import Config
from relay.runtime.config.reload import needs_restart, reload_changes

BASE = "hostname: relay.example\n"


def config(text: str) -> Config:
    return parse(BASE + text if "hostname" not in text else text, Path("/etc/relay/relay.yaml")).config


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("limits: {errors_max: 5}", "limits.errors_max"),
        ("tls: {certificate: new.pem}", "tls.certificate"),
        ("listeners: [{kind: mx, port: 25}]", "listeners"),
        ("routes: [{domain: a.example, smarthost: b.example}]", "routes"),
        ("smtp: {enhanced_codes: true}", "smtp.enhanced_codes"),
        ("headers: {date: replace}", "headers.date"),
        ("dkim: {ed25519: true}", "dkim.ed25519"),
        ("delivery: {retry: [5m]}", "delivery.retry"),
        ("logging: {level: debug}", "logging.level"),
        ("contact: other@relay.example", "contact"),
    ],
)
def test_what_applies_at_once(text, key):
    changes = reload_changes(config(""), config(text))
    assert (changes.applied, changes.restart, changes.refusal) == ((key,), (), "")


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("data_dir: other", "data_dir"),
        ("workers: 3", "workers"),
        ("region: eu-1", "region"),
        ("run_as: {user: relay}", "run_as"),
    ],
)
def test_what_needs_a_restart(text, key):
    changes = reload_changes(config(""), config(text + "\nlimits: {errors_max: 5}"))
    assert changes.restart == (key,)
    assert changes.applied == ("limits.errors_max",)
    assert f"a change of {key} needs a restart" in changes.refusal


def test_a_part_of_run_as_needs_a_restart_too():
    changes = reload_changes(config("run_as: {user: relay}"), config("run_as: {user: mail}"))
    assert changes.restart == ("run_as.user",)


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("limits: {auth: {delay: 2s}}", "limits.auth.delay"),
        ("smtp: {accepted_regions: [eu-1]}", "smtp.accepted_regions"),
    ],
)
def test_what_logins_are_judged_by_needs_a_restart(text, key):
    assert reload_changes(config(""), config(text)).restart == (key,)


def test_a_host_name_takes_what_is_derived_from_it_along():
    changes = reload_changes(config(""), config("hostname: other.example"))
    assert changes.restart == ("hostname",)
    assert set(changes.applied) == {"contact", "bounce_domain", "http.public_url", "notifications.sender"}


def test_nothing_changed():
    changes = reload_changes(config(""), config("workers: auto"))
    assert (changes.applied, changes.restart) == ((), ())


def test_the_settings_that_need_a_restart_are_these():
    fixed = [name for name, field in Config.model_fields.items() if needs_restart(field)]
    assert fixed == ["hostname", "data_dir", "region", "workers", "run_as"]
