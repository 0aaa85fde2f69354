"""Who hears of feedback by mail, and whose settings decide."""

import pytest

from relay.model.feedback import DEFAULT_FEEDBACK, FeedbackKind, FeedbackSettings
from relay.policy.feedback import identity_arn_of, mailed, settings_key

TOPIC = "arn:aws:sns:local-1:000000000001:bounces"
ARN = "arn:aws:ses:local-1:000000000001:identity/example.com"
B, C, D = FeedbackKind.BOUNCE, FeedbackKind.COMPLAINT, FeedbackKind.DELIVERY


@pytest.mark.req("NOTIF-002", "NOTIF-003", "NOTIF-009")
@pytest.mark.parametrize(
    ("settings", "kind", "published", "wanted"),
    [
        (DEFAULT_FEEDBACK, B, False, True),
        (DEFAULT_FEEDBACK, C, True, True),
        (DEFAULT_FEEDBACK, D, False, False),
        (FeedbackSettings(bounce_topic=TOPIC), B, True, True),  # forwarding is on: told twice
        (FeedbackSettings(forwarding=False), B, False, True),  # nobody else would hear of it
        (FeedbackSettings(forwarding=False), B, True, False),
        (FeedbackSettings(forwarding=False, bounce_topic=TOPIC), B, False, False),
        (FeedbackSettings(forwarding=False, bounce_topic=TOPIC), C, False, True),
        (FeedbackSettings(forwarding=False, delivery_topic=TOPIC), B, False, True),
        (FeedbackSettings(forwarding=False), D, False, False),
    ],
)
def test_what_is_mailed(settings, kind, published, wanted):
    assert mailed(settings, kind, published=published) is wanted


@pytest.mark.req("NOTIF-017")
def test_a_delegate_has_settings_of_its_own():
    assert settings_key("000000000001", ARN) == "example.com"
    assert settings_key("000000000002", ARN) == ARN


def test_the_identity_is_read_from_the_mail_object():
    assert identity_arn_of(b'{"source":"a@b","sourceArn":"' + ARN.encode() + b'","tags":{}}') == ARN
    assert identity_arn_of(b"") == ""
    # A subject cannot pretend to be it: quotes inside texts are escaped.
    assert identity_arn_of(b'{"subject":"\\"sourceArn\\":\\"' + ARN.encode() + b'\\""}') == ""


def test_topics_by_kind():
    settings = DEFAULT_FEEDBACK
    for kind in FeedbackKind:
        settings = settings.with_topic(kind, f"arn:{kind}")
    assert [settings.topic(kind) for kind in FeedbackKind] == ["arn:Bounce", "arn:Complaint", "arn:Delivery"]
    assert settings.with_topic(C, "").complaint_topic == ""
