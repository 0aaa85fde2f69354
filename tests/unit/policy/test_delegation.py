"""Which identities a request may use: its own, and those of others that it names by ARN."""

import itertools

import pytest

from relay.model.account import Identity, IdentityKind
from relay.model.refusal import Reason, Refusal
from relay.policy.arn import IdentityArn
from relay.policy.delegation import Authorized, NamedArns, OwnedIdentity, Senders, access_denied, authorize, covers
from relay.policy.identity import covering_names
from relay.policy.statements import Policy
from tests.unit.policy.policies import DELEGATE, OWNER, REGION, identity_policy, request, user_policy

CALLER = f"arn:aws:iam::{DELEGATE}:root"


def arn(name: str, account: str = OWNER, region: str = REGION) -> str:
    return str(IdentityArn(region, account, name))


class Catalog:
    """Identities by account and name."""

    def __init__(self) -> None:
        self._owned: dict[tuple[str, str], OwnedIdentity] = {}

    def add(self, name: str, *policies: Policy, account: str = OWNER, verified: bool = True) -> "Catalog":
        kind = IdentityKind.ADDRESS if "@" in name else IdentityKind.DOMAIN
        self._owned[account, name] = OwnedIdentity(Identity(account, name, kind, verified, 0), policies)
        return self

    def allow(self, name: str, account: str = OWNER, verified: bool = True, **elements: object) -> "Catalog":
        policy = identity_policy(IdentityArn(REGION, account, name), "p", **elements)
        return self.add(name, policy, account=account, verified=verified)

    def deny(self, name: str) -> "Catalog":
        return self.allow(name, Effect="Deny")

    def covering(self, account: str, address: str) -> list[OwnedIdentity]:
        return [self._owned[account, name] for name in covering_names(address) if (account, name) in self._owned]


def ask(
    catalog: Catalog,
    *authors: str,
    source: str = "",
    author: str = "",
    return_path_arn: str = "",
    sender: str = "",
    envelope: str | None = None,
    return_path: str = "",
    account: str = DELEGATE,
    users: tuple[Policy, ...] = (),
    **values: object,
) -> Authorized | Refusal:
    authors = authors or ("sender@example.com",)
    return authorize(
        NamedArns(source, author, return_path_arn),
        Senders(authors, sender, authors[0] if envelope is None else envelope, return_path),
        request(account, **values),
        region=REGION,
        covering=catalog.covering,
        user_policies=users,
    )


def names(result: Authorized | Refusal) -> tuple[str, str]:
    assert isinstance(result, Authorized), result
    feedback = result.feedback
    return (
        f"{result.author.account}/{result.author.name}",
        f"{feedback.account}/{feedback.name}" if feedback is not None else "",
    )


def denied(result: Authorized | Refusal, resource: str, user: str = CALLER) -> bool:
    text = f"Access denied: User `{user}' is not authorized to perform `ses:SendRawEmail' on resource `{resource}'"
    assert isinstance(result, Refusal), result
    assert (result.reason, result.text) == (Reason.ACCESS_DENIED, text)
    return True


DOMAIN_OF_OWNER = Catalog().allow("example.com")


# --- whose identity ----------------------------------------------------------------------------------------------


def test_with_the_source_arn_alone():
    result = ask(DOMAIN_OF_OWNER, source=arn("example.com"))
    assert names(result) == (f"{OWNER}/example.com", f"{OWNER}/example.com")


def test_without_arn_only_own_identities_count():
    result = ask(DOMAIN_OF_OWNER)
    assert isinstance(result, Refusal)
    assert result.reason is Reason.NOT_VERIFIED
    assert result.text.endswith("in region US-EAST-1: sender@example.com")
    own = Catalog().add("example.com", account=DELEGATE)
    assert names(ask(own)) == (f"{DELEGATE}/example.com", f"{DELEGATE}/example.com")


@pytest.mark.parametrize(
    "catalog",
    [
        Catalog(),
        Catalog().add("example.com", verified=False),
        Catalog().allow("example.com", verified=False),
        Catalog().add("example.com"),
        Catalog().deny("example.com"),
        Catalog().allow("example.com", Principal={"AWS": "999999999999"}),
        Catalog().allow("example.com", Action="ses:SendEmail"),
        Catalog().allow("example.com", Condition={"StringLike": {"ses:FromAddress": "x@*"}}),
        Catalog().allow("example.com", account=DELEGATE),
        Catalog().allow("sub.example.com"),
    ],
)
@pytest.mark.parametrize("envelope", ["sender@example.com", "x@unknown.example", ""])
def test_all_that_is_not_allowed_gets_one_answer(catalog, envelope):
    assert denied(ask(catalog, author=arn("example.com"), envelope=envelope), arn("example.com"))
    assert denied(ask(catalog, source=arn("example.com"), envelope=envelope), arn("example.com"))


@pytest.mark.parametrize(
    ("name", "author"),
    [
        ("example.com", "sender@example.com.evil.example"),
        ("example.com", "sender@badexample.com"),
        ("example.com", "sender@com"),
        ("example.com", "example.com@evil.example"),
        ("sub.example.com", "sender@example.com"),
        ("Sender@example.com", "sender@example.com"),
        ("sender+x@example.com", "sender@example.com"),
        ("sender@example.com", "sender@sub.example.com"),
        ("sender@example.com", '"sender"@example.com'),
        ("example.com", "sender@ex\u0430mple.com"),
        ("example.com", "sender@example.com."),
    ],
)
def test_an_identity_that_does_not_cover_the_address(name, author):
    assert denied(ask(Catalog().allow(name), author, source=arn(name)), arn(name))


@pytest.mark.parametrize(
    ("name", "author"),
    [
        ("example.com", "sender@sub.example.com"),
        ("example.com", "sender@EXAMPLE.com"),
        ("example.com", '"a b"@example.com'),
        ("sender@example.com", "sender+label@example.com"),
        ("sender@example.com", "sender@Example.com"),
    ],
)
def test_an_identity_that_covers_the_address(name, author):
    assert names(ask(Catalog().allow(name), author, source=arn(name)))[0] == f"{OWNER}/{name}"


def test_other_regions_are_refused():
    other = arn("example.com", region="eu-west-1")
    assert denied(ask(DOMAIN_OF_OWNER, source=other), other)


def test_the_case_of_the_domain_in_an_arn():
    assert isinstance(ask(DOMAIN_OF_OWNER, source=arn("EXAMPLE.Com")), Authorized)


@pytest.mark.parametrize("label", ["source", "from", "return-path"])
@pytest.mark.parametrize(
    "text",
    ["x", arn("*"), arn("example.com", account="*"), arn("example.com", account="88888888888?"), arn("ex%61mple.com"),
     arn("ex\u0430mple.com"), arn("bücher.example"), arn("example.com\r\n250 Ok"), arn("a" * 500)],
)  # fmt: skip
def test_what_is_no_arn(label, text):
    key = {"source": "source", "from": "author", "return-path": "return_path_arn"}[label]
    result = ask(DOMAIN_OF_OWNER, **{key: text})
    assert isinstance(result, Refusal)
    assert result.reason is Reason.INVALID_ARN
    assert result.text.startswith(f"Transaction failed: The {label} ARN is not the ARN of an identity. ")
    assert result.text.isprintable()


# --- three ARNs --------------------------------------------------------------------------------------------------

THREE = (
    Catalog()
    .allow("example.com")
    .allow("bounces.example", account="777777777777")
    .add("mine.example", account=DELEGATE)
)
BOUNCES = arn("bounces.example", account="777777777777")


def test_from_and_return_path_of_different_owners():
    result = ask(
        THREE,
        author=arn("example.com"),
        return_path_arn=BOUNCES,
        return_path="f@bounces.example",
        envelope="me@mine.example",
    )
    assert names(result) == (f"{OWNER}/example.com", "777777777777/bounces.example")


def test_the_envelope_sender_is_the_feedback_address_without_return_path():
    result = ask(THREE, author=arn("example.com"), return_path_arn=BOUNCES, envelope="f@bounces.example")
    assert names(result) == (f"{OWNER}/example.com", "777777777777/bounces.example")
    own = ask(THREE, author=arn("example.com"), envelope="me@mine.example")
    assert names(own) == (f"{OWNER}/example.com", f"{DELEGATE}/mine.example")


def test_a_from_arn_serves_for_the_rest_where_it_covers():
    assert names(ask(THREE, author=arn("example.com"))) == (f"{OWNER}/example.com", f"{OWNER}/example.com")
    named = ask(THREE, author=arn("example.com"), return_path="f@mine.example")
    assert names(named) == (f"{OWNER}/example.com", f"{DELEGATE}/mine.example")


def test_every_sender_is_checked():
    source = arn("example.com")
    assert denied(ask(THREE, "a@example.com", "b@mine.example", source=source), source)
    assert denied(ask(THREE, sender="b@mine.example", source=source), source)
    assert denied(ask(THREE, source=source, return_path="f@mine.example"), source)
    assert denied(ask(THREE, source=source, envelope="e@mine.example"), source)
    assert denied(ask(THREE, source=source, return_path="f@example.com", envelope="e@mine.example"), source)
    assert denied(ask(THREE, source=source, return_path_arn=BOUNCES), BOUNCES)
    assert isinstance(ask(THREE, "a@example.com", "b@example.com", sender="c@example.com", source=source), Authorized)


def test_policies_see_all_authors_the_sender_and_the_feedback_address():
    catalog = Catalog().allow(
        "example.com",
        Condition={"StringLike": {"ses:FromAddress": "marketing*", "ses:FeedbackAddress": "bounce@*"}},
    )
    source = arn("example.com")
    good = {"source": source, "return_path": "bounce@example.com"}
    assert isinstance(ask(catalog, "marketing1@example.com", **good), Authorized)
    assert denied(ask(catalog, "marketing1@example.com", source=source), source)
    assert denied(ask(catalog, "marketing1@example.com", "ceo@example.com", **good), source)
    assert denied(ask(catalog, "marketing1@example.com", sender="ceo@example.com", **good), source)


def test_the_null_sender_needs_no_identity():
    result = ask(THREE, source=arn("example.com"), envelope="")
    assert names(result) == (f"{OWNER}/example.com", "")


def test_failing_identities_are_named_once():
    result = ask(THREE, "a@x.example", "b@y.example", sender="c@mine.example", envelope="a@x.example")
    assert isinstance(result, Refusal)
    assert result.text.endswith(": a@x.example, b@y.example")


# --- which policies stand (AUTHZ-012) ------------------------------------------------------------------------------


@pytest.mark.parametrize(("named", "author"), [*itertools.product(["example.com", None], ["sender", "other"])])
def test_domain_deny_and_address_allow(named, author):
    catalog = Catalog().deny("example.com").allow("sender@example.com")
    source = arn(named or f"{author}@example.com")
    result = ask(catalog, f"{author}@example.com", source=source)
    if author == "sender":
        assert isinstance(result, Authorized)
    else:
        assert denied(result, source)


def test_domain_allow_and_address_deny():
    catalog = Catalog().allow("example.com").deny("sender@example.com")
    for source in (arn("example.com"), arn("sender@example.com")):
        assert denied(ask(catalog, source=source), source)
        assert denied(ask(catalog, "sender+x@example.com", source=source), source)
    assert isinstance(ask(catalog, "other@example.com", source=arn("example.com")), Authorized)


def test_a_deny_stays_when_its_identity_is_not_verified_any_more():
    catalog = Catalog().allow("example.com").allow("sender@example.com", verified=False, Effect="Deny")
    assert denied(ask(catalog, source=arn("example.com")), arn("example.com"))


def test_an_address_without_policies_has_those_of_its_domain():
    catalog = Catalog().allow("example.com").add("sender@example.com")
    assert names(ask(catalog, source=arn("sender@example.com")))[0] == f"{OWNER}/sender@example.com"
    assert isinstance(ask(catalog, source=arn("example.com")), Authorized)


def test_a_subdomain_with_policies_of_its_own():
    catalog = Catalog().allow("example.com").deny("sub.example.com")
    assert denied(ask(catalog, "a@sub.example.com", source=arn("example.com")), arn("example.com"))
    assert isinstance(ask(catalog, "a@other.example.com", source=arn("example.com")), Authorized)


def test_a_subdomain_of_the_delegate_does_not_shadow_the_owner():
    catalog = Catalog().allow("example.com").add("sub.example.com", account=DELEGATE)
    mine = ask(catalog, "a@sub.example.com")
    assert names(mine)[0] == f"{DELEGATE}/sub.example.com"
    assert names(ask(catalog, "a@sub.example.com", source=arn("example.com")))[0] == f"{OWNER}/example.com"


# --- users ---------------------------------------------------------------------------------------------------------

JOHN = f"arn:aws:iam::{OWNER}:user/John"


def owner(catalog: Catalog, *authors: str, **values: object) -> Authorized | Refusal:
    return ask(catalog, *authors, account=OWNER, user_arn=JOHN, **values)


def test_users_of_the_owner():
    catalog = Catalog().add("example.com").add("ceo@example.com")
    assert isinstance(owner(catalog), Authorized)
    assert isinstance(owner(catalog, users=(user_policy(),)), Authorized)
    only_get = (user_policy(Action="ses:Get*"),)
    assert denied(owner(catalog, users=only_get), arn("example.com"), JOHN)
    deny_ceo = (user_policy({}, {"Effect": "Deny", "Resource": arn("ceo@example.com")}),)
    assert isinstance(owner(catalog, users=deny_ceo), Authorized)
    assert denied(owner(catalog, "ceo@example.com", users=deny_ceo), arn("ceo@example.com"), JOHN)
    # Naming the domain does not lead round the policy.
    result = owner(catalog, "ceo@example.com", users=deny_ceo, source=arn("example.com"))
    assert denied(result, arn("ceo@example.com"), JOHN)


def test_a_policy_of_the_identity_can_allow_a_user_of_the_owner_or_deny_it():
    only_get = (user_policy(Action="ses:Get*"),)
    allow = Catalog().allow("example.com", Principal={"AWS": JOHN})
    assert isinstance(owner(allow, users=only_get), Authorized)
    deny = Catalog().allow("example.com", Principal={"AWS": JOHN}, Effect="Deny")
    assert denied(owner(deny), arn("example.com"), JOHN)
    assert isinstance(ask(deny, account=OWNER, user_arn=JOHN.replace("John", "Jane")), Authorized)


def test_the_resource_of_a_user_is_the_identity_used_whichever_policies_stand():
    catalog = Catalog().allow("example.com").add("sender@example.com")
    users = (user_policy(Resource=arn("sender@example.com")),)
    assert isinstance(owner(catalog, users=users), Authorized)
    assert denied(owner(catalog, "other@example.com", users=users), arn("example.com"), JOHN)


def test_users_of_a_delegate_need_both():
    users = (user_policy(Action="ses:Get*"),)
    jane = f"arn:aws:iam::{DELEGATE}:user/Jane"
    assert denied(
        ask(DOMAIN_OF_OWNER, source=arn("example.com"), users=users, user_arn=jane), arn("example.com"), jane
    )
    assert isinstance(ask(DOMAIN_OF_OWNER, source=arn("example.com"), users=(user_policy(),)), Authorized)


def test_own_arns_must_exist_and_cover():
    catalog = Catalog().add("example.com").add("new.example", verified=False)
    assert isinstance(owner(catalog, source=arn("example.com")), Authorized)
    for source in (arn("new.example"), arn("none.example"), arn("example.com", region="x-1")):
        result = owner(catalog, source=source)
        assert isinstance(result, Refusal)
        assert result.reason is Reason.NOT_VERIFIED


# --- the text -----------------------------------------------------------------------------------------------------


def test_the_refusal_fits_into_a_reply_line():
    longest = IdentityArn("r" * 63, OWNER, "a" * 64 + "@" + "b" * 60 + ".example")
    context = request(user_arn=f"arn:aws:iam::{OWNER}:user/" + "u" * 128, action="ses:SendBulkTemplatedEmail")
    text = access_denied(context, longest).text
    assert len(f"554 5.7.1 {text}\r\n") <= 512
    assert access_denied(request(user_arn="x\r\n250 Ok"), "ü\u2028").text.endswith("`ü?'")
    assert "x??250 Ok" in access_denied(request(user_arn="x\r\n250 Ok"), "y").text
    cut = access_denied(request(user_arn="ü" * 400), "y").text
    assert cut.endswith("...")
    assert len(f"554 5.7.1 {cut}\r\n".encode()) <= 512


def test_covers():
    assert covers("example.com", "a@b.example.com")
    assert not covers("example.com", "not an address")
