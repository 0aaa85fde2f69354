"""What entries mean for recipients."""

import pytest

from relay.model.account import SuppressionEntry
from relay.policy.suppression import SuppressedRecipient, event_kind, fold, suppressed_recipients


@pytest.mark.parametrize(("reason", "kind"), [("BOUNCE", "Bounce"), ("COMPLAINT", "Complaint"), ("?", "Bounce")])
def test_event_kinds(reason, kind):
    assert event_kind(SuppressionEntry("1", "a@x", reason, 0)) == kind


@pytest.mark.parametrize(
    ("address", "folded"),
    [("A@X.Example", "a@x.example"), ('"A"@x.example', "a@x.example"), ('"A B"@x.example', '"a b"@x.example')],
)
def test_fold(address, folded):
    assert fold(address) == folded


def test_positions_are_kept():
    entries = {"b@x": SuppressionEntry("1", "b@x", "BOUNCE", 0), "d@x": SuppressionEntry("1", "d@x", "COMPLAINT", 0)}
    assert suppressed_recipients(["a@x", "b@x", "c@x", "d@x"], entries.get) == (
        SuppressedRecipient(1, "b@x", "Bounce", "OnAccountSuppressionList"),
        SuppressedRecipient(3, "d@x", "Complaint", "OnAccountSuppressionList"),
    )
