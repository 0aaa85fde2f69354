"""`relay dkim` as people and programs see it."""

import io
import json
import subprocess

import pytest
import yaml

from relay.testing.internet import FakeInternet

X = "example.test"


@pytest.fixture
def domain(site):
    site.call("identity", "create", X)
    site.call("identity", "verify", X, "--force")
    return X


@pytest.fixture(scope="module")
def key_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("keys") / "private.key"
    subprocess.run(["openssl", "genrsa", "-out", str(path), "2048"], check=True, capture_output=True)
    return path


def configure(site, **groups):
    values = yaml.safe_load(site.made.config.read_text()) | groups
    site.made.config.write_text(yaml.safe_dump(values))


def states(site):
    return [key["state"] for key in site.json("dkim", "list", X)]


def test_show_for_people(site, domain):
    out, _ = site.call("dkim", "show", domain)
    for line in (
        "identity            example.test",
        "signing             on, inherited",
        "status              SUCCESS",
        "origin              AWS_SES",
        "current key length  RSA_2048_BIT",
        "next key length     RSA_2048_BIT",
    ):
        assert line in out
    assert out.count("standby") == 2
    assert out.count("  type   TXT") == 3


@pytest.mark.req("DKIM-005")
def test_rotate_asks_dns_first(site, domain):
    with FakeInternet({}, network="127.0.24").in_thread() as net:
        configure(site, dns={"nameservers": [net.dns.nameserver], "timeout": "1s"})
        _, error = site.call("dkim", "rotate", domain, code=75)
        assert "No standby key of example.test can be used" in error
        assert error.count("is missing") == 2
        assert states(site) == ["active", "standby", "standby"]
        records = {record["name"]: record["value"] for record in site.json("dkim", "list", domain)}
        last = list(records)[2]
        value = records[last]
        net.dns.zones[last] = {"TXT": [" ".join(f'"{value[at : at + 255]}"' for at in range(0, len(value), 255))]}
        out, _ = site.call("dkim", "rotate", domain)
        assert f"{domain} signs with {last.partition('.')[0]} from now on." in out
        assert states(site) == ["retired", "standby", "active"]
    site.call("dkim", "rotate", domain, "--force")
    _, error = site.call("dkim", "rotate", domain, "--force", code=64)
    assert "--new-keys" in error


@pytest.mark.req("DKIM-006", "DKIM-007")
def test_import_reads_a_file_or_standard_input(site, domain, key_file, monkeypatch):
    key_file.chmod(0o644)
    _, error = site.call("dkim", "import", domain, "--selector", "own", "--key-file", str(key_file))
    assert f"`chmod 600 {key_file}`" in error
    key_file.chmod(0o600)

    class Stdin:
        buffer = io.BytesIO(b"".join(key_file.read_bytes().splitlines()[1:-1]))

    monkeypatch.setattr("sys.stdin", Stdin)
    out, error = site.call("dkim", "import", domain, "--selector", "other", "--key-file", "-")
    assert "chmod" not in error
    assert "other signs for example.test once it is found." in out
    assert [key["selector"] for key in site.json("dkim", "list", domain) if key["origin"] == "EXTERNAL"] == ["other"]
    for arguments, why in [
        (("--selector", "a.b", "--key-file", str(key_file)), "1 to 63 letters"),
        (("--selector", "a", "--key-file", str(key_file.parent / "none")), "cannot be read: No such file"),
        (("--selector", "a", "--key-file", str(site.made.config)), "The private key cannot be used: "),
        (("--selector", "a", "--key-file", str(key_file.parent)), "cannot be read: Is a directory"),
    ]:
        _, error = site.call("dkim", "import", domain, *arguments, code=64)
        assert why in error
    site.call("dkim", "import", domain, "--selector", "a", code=64)


@pytest.mark.req("DKIM-004")
def test_length_says_why_it_is_refused(site, domain):
    for length, why in [("RSA_2048_BIT", "already"), ("RSA_1024_BIT", "no longer made"), ("512", "not '512'")]:
        _, error = site.call("dkim", "length", domain, length, code=64)
        assert error.startswith("relay: The input you provided is invalid: ")
        assert why in error


@pytest.mark.req("DKIM-018")
def test_second_signatures(site, domain):
    (made,) = site.json("dkim", "add", domain)
    assert (made["algorithm"], made["state"], made["type"]) == ("ed25519-sha256", "pending", "TXT")
    assert made["name"] == f"{made['selector']}._domainkey.{domain}"
    out, _ = site.call("dkim", "add", domain)
    assert out.count("v=DKIM1; k=ed25519; p=") == 2
    assert "k=rsa" not in out
    site.call("dkim", "delete", domain, made["selector"])
    assert len(site.json("dkim", "list", domain)) == 4
    active = site.json("dkim", "list", domain)[0]["selector"]
    _, error = site.call("dkim", "delete", domain, active, code=64)
    assert "is active; replace it" in error


@pytest.mark.req("DKIM-001")
def test_the_relays_own_zone(site, domain):
    _, error = site.call("dkim", "zone", code=64)
    assert "`dkim.zone`" in error
    configure(site, dkim={"zone": "dkim.relay.example.test"})
    (shown,) = site.json("dkim", "show", domain)
    assert {record["type"] for record in shown["records"]} == {"CNAME"}
    out, _ = site.call("dkim", "show", domain, "--zone")
    tokens = shown["tokens"]
    assert out.splitlines() == [
        f"{token}._domainkey.{domain}. IN CNAME {token}.dkim.relay.example.test." for token in tokens
    ]
    out, _ = site.call("dkim", "zone")
    lines = sorted(out.splitlines())
    assert [line.partition(" ")[0] for line in lines] == sorted(
        f"{token}.dkim.relay.example.test." for token in tokens
    )
    assert all(' IN TXT "v=DKIM1; k=rsa; p=' in line for line in lines)
    out, _ = site.call("dkim", "zone", "--format", "json")
    assert {json.loads(line)["name"] for line in out.splitlines()} == {
        f"{token}.dkim.relay.example.test" for token in tokens
    }


@pytest.mark.req("DKIM-002")
def test_verification_takes_either_form(site):
    """An alias into the zone, or the key itself: a TXT query yields it."""
    with FakeInternet({}, network="127.0.25").in_thread() as net:
        configure(site, dns={"nameservers": [net.dns.nameserver]}, dkim={"zone": "dkim.relay.example.test"})
        site.call("identity", "create", X)
        keys = {key["selector"]: key for key in site.json("dkim", "list", X)}
        texts = {}
        configure(site, dns={"nameservers": [net.dns.nameserver]}, dkim={})
        for key in site.json("dkim", "list", X):
            texts[key["selector"]] = key["value"]
        first, second, third = keys
        for selector, text in texts.items():
            strings = " ".join(f'"{text[at : at + 255]}"' for at in range(0, len(text), 255))
            net.dns.zones[f"{selector}.dkim.relay.example.test"] = {"TXT": [strings]}
        net.dns.zones[keys[first]["name"]] = {"CNAME": f"{first}.dkim.relay.example.test"}
        net.dns.zones[keys[second]["name"]] = {"CNAME": f"{second}.dkim.relay.example.test"}
        site.call("identity", "verify", X, code=75)
        assert states(site) == ["pending"] * 3
        net.dns.zones[keys[third]["name"]] = net.dns.zones[f"{third}.dkim.relay.example.test"]
        site.call("identity", "verify", X)
        assert states(site) == ["active", "standby", "standby"]
