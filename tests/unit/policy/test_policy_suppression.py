"""What entries mean for recipients, and which reasons count."""

import pytest

from relay.errors import RequestRefusedError, UsageError
from relay.model.account import Account, AccountState, SuppressionEntry
from relay.model.configuration_set import ConfigurationSet
from relay.policy.suppression import (
    SuppressedRecipient,
    checked_reasons,
    event_kind,
    fold,
    reasons_in_use,
    refuse_in_sandbox,
    suppressed_recipients,
)

BOTH = ("BOUNCE", "COMPLAINT")


def account(*reasons, sandbox=False):
    return Account("1", AccountState.ENABLED, sandbox, -1, -1, suppressed_reasons=reasons)


@pytest.mark.parametrize(("reason", "kind"), [("BOUNCE", "Bounce"), ("COMPLAINT", "Complaint"), ("?", "Bounce")])
def test_event_kinds(reason, kind):
    assert event_kind(SuppressionEntry("1", "a@x", reason, 0)) == kind


@pytest.mark.parametrize(
    ("address", "folded"),
    [
        ("A@X.Example", "a@x.example"),
        ('"A"@x.example', "a@x.example"),
        ('"A B"@x.example', '"a b"@x.example'),
        ("A+News@x.example", "a+news@x.example"),
    ],
)
def test_fold(address, folded):
    assert fold(address) == folded


def test_positions_are_kept_and_only_reasons_that_count_stop():
    entries = {"b@x": SuppressionEntry("1", "b@x", "BOUNCE", 0), "d@x": SuppressionEntry("1", "d@x", "COMPLAINT", 0)}
    recipients = ["a@x", "b@x", "c@x", "d@x"]
    bounce = SuppressedRecipient(1, "b@x", "Bounce", "OnAccountSuppressionList")
    complaint = SuppressedRecipient(3, "d@x", "Complaint", "OnAccountSuppressionList")
    assert suppressed_recipients(recipients, BOTH, entries.get) == (bounce, complaint)
    assert suppressed_recipients(recipients, ("COMPLAINT",), entries.get) == (complaint,)
    assert suppressed_recipients(recipients, (), lambda _: pytest.fail("nothing is looked up")) == ()


@pytest.mark.parametrize(
    ("of_account", "of_set", "in_use"),
    [
        (BOTH, None, BOTH),
        (BOTH, (), ()),
        (BOTH, ("COMPLAINT",), ("COMPLAINT",)),
        ((), ("BOUNCE",), ("BOUNCE",)),
        ((), None, ()),
    ],
)
def test_a_set_replaces_what_its_account_says(of_account, of_set, in_use):
    chosen = ConfigurationSet("1", "s", suppressed_reasons=of_set)
    assert reasons_in_use(account(*of_account), chosen) == in_use
    assert reasons_in_use(account(*of_account), None) == of_account
    assert reasons_in_use(None, None) == ()


def test_reasons_have_one_order():
    assert checked_reasons(["complaint", " Bounce ", "BOUNCE"]) == BOTH
    assert checked_reasons([]) == ()
    with pytest.raises(UsageError, match="BOUNCE or COMPLAINT"):
        checked_reasons(["SPITE"])


def test_the_sandbox():
    refuse_in_sandbox(account())
    with pytest.raises(RequestRefusedError, match="sandbox"):
        refuse_in_sandbox(account(sandbox=True))
