"""Accounts, credentials, identities, keys, quotas and lists through the command line."""

import fnmatch
import io
import json
from pathlib import Path

import pytest

from relay.runtime.cli.app import run
from relay.signing import secrets

SECRET = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"


def matches(text, pattern):
    """Compare line by line with wildcards."""
    lines, patterns = text.splitlines(), pattern.strip("\n").splitlines()
    assert len(lines) == len(patterns), text
    for line, wanted in zip(lines, patterns, strict=True):
        assert fnmatch.fnmatchcase(line, wanted), f"{line!r} is not {wanted!r}"


def test_init_prints_the_outside_contract(tmp_path, capsys):
    assert run(["init", str(tmp_path / "r"), "--hostname", "relay.example.test", "--json"]) == 0
    made = json.loads(capsys.readouterr().out)
    assert set(made) == {"config", "account", "smtp", "access_key", "certificate"}
    assert made["account"] == "000000000001"
    assert set(made["smtp"]) == {"username", "password"}
    assert set(made["access_key"]) == {"id", "secret"}
    assert run(["init", str(tmp_path / "r")]) == 64
    assert "exists already" in capsys.readouterr().err


def test_init_for_people(tmp_path, capsys):
    assert run(["init", str(tmp_path / "r"), "--hostname", "relay.example.test"]) == 0
    captured = capsys.readouterr()
    matches(
        captured.out,
        """
configuration      */r/relay.yaml
certificate        */r/tls/cert.pem (self-signed)
account            000000000001
SMTP user name     smtp-????????????????
SMTP password      ????????????????????????????????????????
access key id      AKIA????????????????
secret access key  ????????????????????????????????????????
""",
    )
    assert "cannot be shown again" in captured.err


@pytest.mark.req("CRED-007")
@pytest.mark.parametrize(
    ("region", "password"),
    [
        ("us-west-2", "BF2PynzbSCAjX08zhZZnP/kW+T9P5zs/1Er0pi5vTEmd"),
        ("us-east-1", "BLBM/9hSUELfq8Gw+rU1YcBjkOxGbhT2XG763xVLGWL9"),
        ("local-1", "BCG0RVZio+8BITDYOkvwpGUuEG0VIMfJPmFULW6+VG+S"),
    ],
)
def test_smtp_password_prints_the_password_and_nothing_else(capsys, monkeypatch, region, password):
    assert run(["smtp-password", SECRET, region]) == 0
    assert capsys.readouterr() == (password + "\n", "")
    monkeypatch.setattr("sys.stdin", io.StringIO(SECRET + "\n"))
    assert run(["smtp-password", "-", region]) == 0
    assert capsys.readouterr() == (password + "\n", "")


@pytest.mark.req("CRED-007")
def test_smtp_password_takes_any_region(capsys):
    assert run(["smtp-password", SECRET, "mars north/1"]) == 0
    assert capsys.readouterr().out == secrets.smtp_password(SECRET, "mars north/1") + "\n"


@pytest.mark.req("CRED-011")
def test_smtp_users_are_listed_and_revoked(site):
    (made,) = site.json("credentials", "create", "--name", "billing", "--username", "billing@app")
    assert made["smtp"]["username"] == "billing@app"
    out, _ = site.call("credentials", "list")
    assert made["smtp"]["password"] not in out
    (listed,) = [one for one in site.json("credentials", "list") if one["username"] == "billing@app"]
    assert (listed["name"], listed["revoked"], listed["kind"]) == ("billing", None, "smtp-user")
    site.call("credentials", "revoke", "billing@app")
    (listed,) = [one for one in site.json("credentials", "list") if one["username"] == "billing@app"]
    assert listed["revoked"]
    _, error = site.call("credentials", "revoke", "billing@app", code=64)
    assert error == "relay: Credential billing@app is revoked already.\n"


def test_access_key_comes_with_its_smtp_password(site):
    (made,) = site.json("credentials", "create", "--access-key")
    assert made["smtp"]["username"] == made["access_key"]["id"]
    assert made["smtp"]["password"] == secrets.smtp_password(made["access_key"]["secret"], "local-1")
    _, error = site.call("credentials", "create", "--access-key", "--username", "x", code=64)
    assert "always random" in error


def test_import_reads_the_secret_from_file_or_standard_input(site, tmp_path, monkeypatch):
    file = tmp_path / "secret"
    file.write_text(SECRET + "\n")
    site.call("credentials", "import", "AKIAIOSFODNN7EXAMPLE", "--secret-file", str(file))
    monkeypatch.setattr("sys.stdin", io.StringIO(SECRET + "\n"))
    site.call("credentials", "import", "AKIAIOSFODNN7EXAMPL2")
    names = {one["username"] for one in site.json("credentials", "list")}
    assert {"AKIAIOSFODNN7EXAMPLE", "AKIAIOSFODNN7EXAMPL2"} <= names
    monkeypatch.setattr("sys.stdin", io.StringIO("short\n"))
    _, error = site.call("credentials", "import", "AKIAIOSFODNN7EXAMPL3", code=64)
    assert "short" not in error


def test_import_has_no_option_for_the_secret_itself(site, capsys):
    assert run(["credentials", "import", "AKIAIOSFODNN7EXAMPLE", "--secret", SECRET]) == 64


def test_identity_prints_the_records_to_publish(site):
    out, error = site.call("identity", "create", "example.test")
    record = """
  name   r*._domainkey.example.test
  type   TXT
  value  v=DKIM1; k=rsa; p=*"""
    line = """
  r*._domainkey.example.test. IN TXT "v=DKIM1; *" "*\""""
    matches(
        out,
        f"""
example.test is created, not verified yet.

Publish in DNS:{record * 3}
  zone file{line * 3}
""",
    )
    assert "verify example.test --force" in error
    zone, _ = site.call("dkim", "show", "example.test", "--zone")
    values = [line.split("value  ")[1] for line in out.splitlines() if "value" in line]
    assert len(values) == len(set(values)) == 3
    for line, value in zip(zone.splitlines(), values, strict=True):
        strings = line.split(" IN TXT ")[1].strip().strip('"').split('" "')
        assert "".join(strings) == value
        assert max(map(len, strings)) <= 255


def test_identity_life(site):
    site.call("identity", "create", "example.test", "--ed25519")
    site.call("identity", "create", "Someone@Other.test")
    (shown,) = site.json("identity", "show", "example.test", "--no-dns")
    assert not shown["verified"]
    assert [record["value"].split(";")[1].strip() for record in shown["records"]] == ["k=rsa"] * 3 + ["k=ed25519"]
    (verified,) = site.json("identity", "verify", "example.test", "--force")
    assert verified["verified"]
    assert {one["identity"] for one in site.json("identity", "list")} == {"example.test", "Someone@Other.test"}
    site.call("identity", "delete", "example.test", "--yes")
    _, error = site.call("identity", "show", "example.test", code=64)
    assert error == "relay: Account 000000000001 has no identity example.test.\n"


def test_an_address_needs_force(site):
    site.call("identity", "create", "someone@other.test")
    _, error = site.call("identity", "verify", "someone@other.test", code=64)
    assert "--force" in error


def test_quota_and_account(site):
    (set_,) = site.json("quota", "set", "--daily", "10", "--rate", "1.5")
    assert (set_["dailyQuota"], set_["sendRate"]) == (10, 1.5)
    site.call("quota", "set", "--daily", "-1")
    out, _ = site.call("quota", "show")
    assert "recipients in 24 hours     unlimited" in out
    assert "recipients a second        1.5" in out
    site.call("quota", "set", code=64)
    site.call("quota", "set", "--daily", "-2", code=64)
    site.call("account", "create", "000000000002", "--sandbox")
    site.call("account", "pause", "000000000002")
    (second,) = [one for one in site.json("account", "list") if one["account"] == "000000000002"]
    assert (second["state"], second["sandbox"], second["dailyQuota"]) == ("paused", True, 200)
    site.call("account", "resume", "000000000002")
    site.call("account", "close", "000000000002", "--yes")
    assert "closed" in site.call("account", "list")[0]
    site.call("account", "create", "12", code=64)
    site.call("quota", "show", "--account", "000000000009", code=64)


@pytest.mark.req("SUPP-007", "SUPP-008")
def test_new_accounts_use_their_list_for_bounces_and_complaints(site):
    site.call("account", "create", "000000000002", "--sandbox")
    for account in ("000000000001", "000000000002"):
        (shown,) = site.json("suppression", "settings", "--account", account)
        assert shown == {"account": account, "suppressedReasons": ["BOUNCE", "COMPLAINT"], "addresses": 0}
    (shown,) = site.json("suppression", "settings", "--reasons", "none")
    assert shown["suppressedReasons"] == []
    (shown,) = site.json("account", "show", "000000000001")
    assert shown["suppressedReasons"] == []
    site.call("suppression", "settings", "--reasons", "BOUNCE,SPITE", code=64)


@pytest.mark.req("SUPP-012", "SUPP-014")
def test_an_address_is_added_changed_and_removed(site):
    site.call("suppression", "add", "a@x.test")
    (changed,) = site.json("suppression", "add", "A@x.test", "--reason", "complaint")
    assert (changed["emailAddress"], changed["reason"]) == ("A@x.test", "COMPLAINT")
    assert [one["reason"] for one in site.json("suppression", "list")] == ["COMPLAINT"]
    (shown,) = site.json("suppression", "show", "a@X.test")
    assert (shown["reason"], shown["attributes"], shown["report"]) == ("COMPLAINT", None, None)
    out, _ = site.call("suppression", "show", "a@x.test")
    assert "added by hand" in out
    site.call("suppression", "remove", "a@x.test")
    _, error = site.call("suppression", "remove", "a@x.test", code=64)
    assert "a@x.test is not on the suppression list" in error
    site.call("suppression", "show", "a@x.test", code=64)
    site.call("suppression", "list", "--since", "yesterday", code=64)


@pytest.mark.req("SUPP-024", "SUPP-029")
def test_suppression_round_trip(site, tmp_path):
    site.call("suppression", "add", "a@x.test", "B@x.test")
    site.call("suppression", "add", "c@x.test", "--reason", "COMPLAINT")
    for name in ("list.csv", "list.json"):
        file = tmp_path / name
        site.call("suppression", "export", str(file))
        site.call("suppression", "remove", "a@x.test", "b@X.test", "c@x.test")
        assert site.json("suppression", "list") == []
        (report,) = site.json("suppression", "import", str(file))
        assert (report["processed"], report["failed"]) == (3, 0)
    entries = {(one["emailAddress"], one["reason"]) for one in site.json("suppression", "list")}
    assert entries == {("a@x.test", "BOUNCE"), ("B@x.test", "BOUNCE"), ("c@x.test", "COMPLAINT")}


@pytest.mark.req("SUPP-026")
def test_bad_lines_are_counted_and_good_ones_applied(site, tmp_path):
    file = tmp_path / "list.csv"
    file.write_bytes(b"good@x.test,BOUNCE\nbad\nother@x.test,WHY\n\xff\xfe\n" + b"x" * 20_000 + b"\n")
    (report,) = site.json("suppression", "import", str(file), code=65)
    assert (report["jobStatus"], report["processed"], report["failed"]) == ("COMPLETED", 1, 4)
    assert [one["line"] for one in report["failures"]] == [2, 3, 4, 5]
    kept = Path(report["failedRecords"]).read_text().splitlines()
    assert [json.loads(one)["line"] for one in kept] == [2, 3, 4, 5]
    _, error = site.call("suppression", "import", str(file), code=65)
    assert "line 2: 'bad' is not an email address" in error
    out, _ = site.call("suppression", "jobs", "list")
    assert out.count("COMPLETED") == 2
    out, _ = site.call("suppression", "jobs", "show", report["jobId"])
    assert str(report["failedRecords"]) in out
    assert [one["emailAddress"] for one in site.json("suppression", "list")] == ["good@x.test"]


def test_configuration_is_found_in_order(site, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert run(["account", "list"]) == 78
    assert "relay init" in capsys.readouterr().err
    monkeypatch.setenv("RELAY_CONFIG", site.config)
    assert run(["account", "list", "--json"]) == 0
    monkeypatch.setenv("RELAY_CONFIG", str(tmp_path / "missing.yaml"))
    assert run(["account", "list"]) == 78
    monkeypatch.delenv("RELAY_CONFIG")
    monkeypatch.chdir(site.made.config.parent)
    assert run(["account", "list"]) == 0


def test_missing_master_key_is_a_sentence(site):
    (site.made.config.parent / "data" / "keys" / "master.key").unlink()
    _, error = site.call("credentials", "list", code=78)
    assert error.startswith("relay: There is no master key")


def test_check_lists_every_fault_at_once(site):
    out, _ = site.call("check", "--no-ports")
    assert "ok" in out
    text = site.made.config.read_text().replace("hostname: relay.example.test", "hostname: -bad-\nhostnam: x")
    site.made.config.write_text(text)
    out, _ = site.call("check", code=78)
    assert "hostnam" in out
    assert "2 faults; the relay cannot start." in out
    (report,) = site.json("check", code=78)
    assert report["ok"] is False
    assert len(report["findings"]) == 2


def test_reset_wipes_and_starts_anew(site):
    site.call("identity", "create", "example.test")
    site.call("reset", code=64)
    site.call("reset", "--data", code=64)
    (made,) = site.json("reset", "--data", "--yes")
    assert site.json("identity", "list") == []
    names = {one["username"] for one in site.json("credentials", "list")}
    assert names == {made["smtp"]["username"], made["access_key"]["id"]}


def test_classify_prints_the_outside_contract(capsys, monkeypatch):
    raw = io.TextIOWrapper(io.BytesIO(b"From: a@b.test\r\nSubject: hello\r\n\r\nhello\r\n"))
    monkeypatch.setattr("sys.stdin", raw)
    assert run(["classify"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["kind"] == "none"
    keys = ["kind", "messageId", "recipients", "bounceType", "bounceSubType", "complaintFeedbackType", "rule"]
    assert list(result) == keys
