"""Policies of identities through the command line, and the ARNs that owner and delegate exchange."""

import io
import json

import pytest

A, B = "000000000001", "000000000002"
ARN = f"arn:aws:ses:local-1:{A}:identity/x.example"


def audit(site):
    path = site.made.config.parent / "data" / "audit.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture
def owner(site):
    site.call("identity", "create", "x.example")
    site.call("identity", "verify", "x.example", "--force")
    return site


def typed(monkeypatch, text):
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(text.encode())))


@pytest.mark.req("AUTHZ-023", "AUTHZ-022")
def test_generate_review_apply_show_edit_and_delete(owner, tmp_path, monkeypatch):
    arguments = ("identity", "policy", "generate", "X.example", "marketing")
    text, _ = owner.call(
        *arguments, "--principal", B, "--principal", f"arn:aws:iam::{B}:user/John", "--action", "SendRawEmail",
        "--condition", "StringLike:ses:FromAddress=news*", "--condition", "StringLike:ses:FromAddress=info*",
        "--condition", "ForAllValues:StringLike:ses:Recipients=*@remote.example", "--sid", "first",
    )  # fmt: skip
    (statement,) = json.loads(text)["Statement"]
    assert statement == {
        "Sid": "first",
        "Effect": "Allow",
        "Principal": {"AWS": [B, f"arn:aws:iam::{B}:user/John"]},
        "Action": ["ses:SendRawEmail"],
        "Resource": ARN,
        "Condition": {
            "StringLike": {"ses:FromAddress": ["news*", "info*"]},
            "ForAllValues:StringLike": {"ses:Recipients": ["*@remote.example"]},
        },
    }
    assert owner.json("identity", "policy", "list", "x.example") == []  # nothing is kept before it was reviewed
    file = tmp_path / "policy.json"
    file.write_text(text)
    two, _ = owner.call(*arguments, "--principal", "*", "--effect", "Deny", "--append", str(file))
    typed(monkeypatch, two)
    owner.call("identity", "policy", "put", "x.example", "marketing", "-")
    shown, _ = owner.call("identity", "policy", "show", "x.example", "marketing")
    assert shown == two
    assert [one["Effect"] for one in json.loads(shown)["Statement"]] == ["Allow", "Deny"]
    owner.call("identity", "policy", "generate", "x.example", "second", "--principal", B, "--apply")
    assert [one["policy"] for one in owner.json("identity", "policy", "list", "x.example")] == ["marketing", "second"]
    assert "in force" in owner.call("identity", "policy", "list", "x.example")[0]
    owner.call("identity", "policy", "delete", "x.example", "marketing")
    owner.call("identity", "policy", "delete", "x.example", "marketing", code=64)
    owner.call("identity", "policy", "show", "x.example", "marketing", code=64)
    operations = [line["operation"] for line in audit(owner) if "policy" in line["operation"]]
    assert operations == ["identity.policy.put", "identity.policy.put", "identity.policy.delete"]


@pytest.mark.req("AUTHZ-001", "AUTHZ-002", "AUTHZ-003")
def test_a_refused_policy_shows_all_its_faults_and_keeps_nothing(owner, tmp_path):
    file = tmp_path / "bad.json"
    bad = {"Effect": "Allowed", "Action": "ses:SendMail", "Resource": ARN.replace("x.example", "y.example")}
    file.write_text(json.dumps({"Statement": bad | {"Condition": {"StringLike": {"ses:FromAddress": "*X.example"}}}}))
    _, error = owner.call("identity", "policy", "put", "x.example", "p", str(file), code=64)
    for element in ("Effect", "Principal", "Action", "Resource", "Condition.StringLike"):
        assert f"\nStatement.{element}: " in error
    assert error.count("Example: ") == 5
    assert ARN in error
    faults = owner.json("identity", "policy", "put", "x.example", "p", str(file), code=64)
    assert {"element", "reason", "example"} == set(faults[0])
    assert len(faults) == 5
    assert owner.json("identity", "policy", "list", "x.example") == []
    file.write_bytes(b"\xff")
    assert "UTF-8" in owner.call("identity", "policy", "put", "x.example", "p", str(file), code=64)[1]
    owner.call("identity", "policy", "put", "x.example", "p", str(tmp_path / "none"), code=64)


@pytest.mark.req("AUTHZ-022", "AUTHZ-023")
def test_what_cannot_be_given_is_told(owner):
    owner.call("account", "create", B)
    owner.call("identity", "create", "pending.example")
    generate = ("identity", "policy", "generate")
    _, error = owner.call(*generate, "pending.example", "p", "--principal", B, "--apply", code=64)
    assert "not verified" in error
    owner.call(*generate, "x.example", "p", "--principal", B, "--account", B, code=64)
    owner.call(*generate, "x.example", "p", code=64)
    for condition in ("StringLike", "ses:FromAddress=x", "=", "StringLike:ses:FromAddress"):
        _, error = owner.call(*generate, "x.example", "p", "--principal", B, "--condition", condition, code=64)
        assert "StringLike:ses:FromAddress=news*" in error
    _, error = owner.call(*generate, "x.example", "p", "--principal", "John", code=64)
    assert "Statement[0].Principal.AWS" in error


@pytest.mark.req("AUTHZ-024")
def test_accounts_users_and_identities_show_their_arns(owner):
    owner.call("user", "create", "John")
    (account,) = owner.json("account", "show", A)
    assert (account["account"], account["arn"]) == (A, f"arn:aws:iam::{A}:root")
    (user,) = owner.json("user", "list")
    assert user["arn"] == f"arn:aws:iam::{A}:user/John"
    owner.call("identity", "policy", "generate", "x.example", "p", "--principal", B, "--apply")
    (identity,) = owner.json("identity", "show", "x.example")
    assert (identity["arn"], identity["policies"]) == (ARN, ["p"])
    for arguments, arn in (
        (("account", "show", A), account["arn"]),
        (("user", "list"), user["arn"]),
        (("identity", "show", "x.example"), ARN),
    ):
        assert arn in owner.call(*arguments)[0]
