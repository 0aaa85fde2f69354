"""Every command that changes something leaves a line in the audit log, without any secret (AUDIT-005)."""

import io
import json
import os

import pytest

from relay.runtime import audit

SECRET = "wJalrXUtnFEMIK7MDENGbPxRfiCYEXAMPLEKEYSEC"


@pytest.fixture
def done(site, monkeypatch, tmp_path):
    """Run commands; return the audit line that the last one left."""

    def call(*arguments, text=None):
        path = site.made.config.parent / "data" / "audit.jsonl"
        before = len(path.read_text().splitlines()) if path.exists() else 0
        if text is not None:
            monkeypatch.setattr("sys.stdin", io.StringIO(text))
        site.call(*arguments)
        lines = path.read_text().splitlines()[before:] if path.exists() else []
        assert SECRET not in "".join(lines)
        return [json.loads(line) for line in lines]

    return call


def operations(lines):
    return [line["operation"] for line in lines]


def test_changes_of_identities_and_keys(done):
    (made,) = done("identity", "create", "one.test")
    assert (made["operation"], made["account"]) == ("identity.create", "000000000001")
    assert (made["caller"], made["uid"]) == (audit.current_caller(), os.getuid())
    assert operations(done("identity", "set", "one.test", "--tag", "a=b")) == ["identity.set"]
    assert operations(done("identity", "verify", "one.test", "--force")) == ["identity.verify"]
    assert operations(done("identity", "mail-from", "set", "one.test", "m.one.test")) == ["identity.mail-from.set"]
    assert operations(done("identity", "mail-from", "clear", "one.test")) == ["identity.mail-from.clear"]
    assert operations(done("dkim", "disable", "one.test")) == ["dkim.signing"]
    assert operations(done("dkim", "easy", "one.test", "--new-keys")) == ["dkim.easy"]
    (added,) = done("dkim", "add", "one.test")
    assert added["parameters"]["domain"] == "one.test"
    selector = added["parameters"]["selector"]
    assert operations(done("dkim", "delete", "one.test", selector)) == ["dkim.delete"]
    (gone,) = done("identity", "delete", "one.test", "--yes")
    assert (gone["operation"], gone["parameters"]) == ("identity.delete", {"identities": ["one.test"]})


def test_changes_of_suppression_lists(done, tmp_path):
    (added,) = done("suppression", "add", "a@x.test", "b@x.test")
    assert added["parameters"] == {"addresses": ["a@x.test", "b@x.test"], "reason": "BOUNCE"}
    assert operations(done("suppression", "remove", "a@x.test")) == ["suppression.remove"]
    file = tmp_path / "list.csv"
    file.write_text("c@x.test,BOUNCE\nd@x.test,COMPLAINT\n")
    (imported,) = done("suppression", "import", str(file))
    assert imported["operation"] == "suppression.import"
    assert (imported["parameters"]["processed"], imported["parameters"]["failed"]) == (2, 0)


ADDRESS = "127.0.77.1"
CHANGES_OF_ADDRESSES = (
    ("pool.create", "pool create bulk"),
    ("pool.tag", "pool tag bulk team=news"),
    ("pool.overflow", "pool overflow bulk none"),
    ("pool.shared", "pool shared bar"),
    ("pool.assign", "pool assign bulk --whole-account"),
    ("pool.rule.add", "pool rule add bulk --to x.test"),
    ("pool.rule.remove", "pool rule remove 1"),
    ("address.add", f"address add {ADDRESS} --account 000000000001 --pool bulk"),
    ("address.set", f"address set {ADDRESS} --weight 7"),
    ("address.suspend", f"address suspend {ADDRESS}"),
    ("address.resume", f"address resume {ADDRESS}"),
    ("warmup.start", f"warmup start {ADDRESS}"),
    ("warmup.pause", f"warmup pause {ADDRESS}"),
    ("warmup.reset", f"warmup reset {ADDRESS}"),
    ("warmup.set-percent", f"warmup set-percent {ADDRESS} 40"),
    ("warmup.complete", f"warmup complete {ADDRESS}"),
    ("address.give-back", f"address give-back {ADDRESS} --account 000000000001 --yes"),
    ("address.move", f"address move {ADDRESS} --reserve"),
    ("pool.create", "pool create own --managed"),
    ("pool.delete", "pool delete own"),
    ("pool.delete", "pool delete bulk"),
    ("address.remove", f"address remove {ADDRESS} --yes"),
    ("address.range.add", "address range add 198.51.100.0/24 --account 000000000001 --registry RIR --use-case news"),
    ("address.range.remove", "address range remove 198.51.100.0/24"),
)


@pytest.mark.req("AUDIT-005")
def test_changes_of_addresses_pools_and_warm_up(done):
    for operation, command in CHANGES_OF_ADDRESSES:
        (line,) = done(*command.split())
        assert (line["operation"], line["caller"]) == (operation, audit.current_caller()), command


@pytest.mark.req("AUDIT-005")
def test_an_imported_key_without_its_secret(done):
    (line,) = done("credentials", "import", "AKIAIOSFODNN7EXAMPLE", text=SECRET[:40] + "\n")
    assert (line["operation"], line["parameters"]["username"]) == ("credentials.import", "AKIAIOSFODNN7EXAMPLE")


def test_a_command_that_fails_leaves_no_line(site):
    site.call("identity", "set", "nobody.test", "--tag", "a=b", code=64)
    site.call("queue", "delete", "--domain", "x.test", "--state", "lost", "--yes", code=64)
    assert not (site.made.config.parent / "data" / "audit.jsonl").exists()


@pytest.mark.parametrize(
    ("sudo", "login", "expected"),
    [("0", "1000", 0), ("", "0", 0), ("", "4294967295", None), ("99999999999", "x", None), ("-1", "", None)],
)
def test_who_is_meant(monkeypatch, tmp_path, sudo, login, expected):
    """Sudo's word, then the kernel's; a process that nobody logged in for is told by its own user."""
    monkeypatch.setenv("SUDO_UID", sudo)
    file = tmp_path / "loginuid"
    file.write_text(login)
    monkeypatch.setattr(audit, "LOGIN_FILE", file)
    assert audit._uid() == (os.getuid() if expected is None else expected)
