"""What an event destination may be, and its form in API v2."""

from dataclasses import replace

import pytest

from relay.errors import UsageError
from relay.model.event_destination import (
    DestinationKind,
    Dimension,
    DimensionSource,
    EventDestination,
    EventType,
)
from relay.policy.event_destinations import (
    KnownTargets,
    as_api,
    checked,
    from_api,
    parse_type,
    target_arn,
    target_name,
)

ACCOUNT = "000000000001"
KNOWN = KnownTargets("local-1", ("firehose",), ("default", "other"))
STREAM = EventDestination(
    ACCOUNT,
    "set",
    "to-stream",
    enabled=True,
    types=(EventType.BOUNCE, EventType.SEND),
    kind=DestinationKind.STREAM,
    target="arn:aws:firehose:local-1:000000000001:deliverystream/firehose",
    role_arn="arn:aws:iam::000000000001:role/anything",
)
TAG = Dimension("campaign", DimensionSource.MESSAGE_TAG, "none")
METRICS = replace(STREAM, kind=DestinationKind.METRICS, target="", role_arn="", dimensions=(TAG,))
TOPIC = replace(STREAM, kind=DestinationKind.TOPIC, target="arn:aws:sns:local-1:000000000001:t", role_arn="")
BUS = replace(
    STREAM, kind=DestinationKind.BUS, target="arn:aws:events:local-1:000000000001:event-bus/other", role_arn=""
)


@pytest.mark.parametrize("one", [STREAM, METRICS, TOPIC, BUS], ids=lambda one: one.kind)
def test_each_kind_is_kept_and_said_again_in_the_words_of_the_api(one):
    kept = checked(one, KNOWN)
    assert kept == replace(one, types=(EventType.SEND, EventType.BOUNCE))
    assert checked(from_api(ACCOUNT, "set", one.name, as_api(kept)), KNOWN) == kept


def test_the_shape_of_the_api():
    assert as_api(checked(METRICS, KNOWN)) == {
        "Name": "to-stream",
        "Enabled": True,
        "MatchingEventTypes": ["SEND", "BOUNCE"],
        "CloudWatchDestination": {
            "DimensionConfigurations": [
                {
                    "DimensionName": "campaign",
                    "DimensionValueSource": "MESSAGE_TAG",
                    "DefaultDimensionValue": "none",
                }
            ]
        },
    }


def dimensions(*given):
    return replace(METRICS, dimensions=given)


REFUSED = {
    "name": (replace(STREAM, name="a b"), "name of 1 to 64"),
    "long name": (replace(STREAM, name="a" * 65), "name of 1 to 64"),
    "no types": (replace(STREAM, types=()), "at least one event type"),
    "unknown stream": (replace(STREAM, target=STREAM.target + "x"), "no stream firehosex under `streams`"),
    "unknown bus": (replace(BUS, target=BUS.target + "x"), "no bus otherx under `buses`"),
    "no ARN": (replace(STREAM, target="firehose"), "arn:aws:firehose:local-1:000000000001:deliverystream/NAME"),
    "wrong service": (replace(STREAM, target=TOPIC.target), "The ARN of a stream is"),
    "region": (replace(TOPIC, target="arn:aws:sns:other-1:000000000001:t"), "region other-1"),
    "account": (
        replace(BUS, target="arn:aws:events:local-1:000000000002:event-bus/default"),
        "account 000000000002",
    ),
    "fifo": (replace(TOPIC, target=TOPIC.target + ".fifo"), "FIFO"),
    "line end": (replace(TOPIC, target=TOPIC.target + "\n"), "The ARN of a topic"),
    "role": (replace(STREAM, role_arn="a\nb"), "role ARN"),
    "dimensions of a stream": (replace(STREAM, dimensions=(TAG,)), "belong to metrics"),
    "no dimensions": (dimensions(), "1 to 10 dimensions"),
    "too many": (
        dimensions(*(replace(TAG, name=f"n{number}") for number in range(11))),
        "1 to 10 dimensions",
    ),
    "twice": (dimensions(TAG, TAG), "given twice"),
    "dimension name": (dimensions(replace(TAG, name="a.b")), "letters, digits, - and _"),
    "automatic name of a header": (
        dimensions(Dimension("ses:from-domain", DimensionSource.EMAIL_HEADER, "x")),
        "letters, digits, - and _",
    ),
    "unknown automatic tag": (dimensions(replace(TAG, name="ses:nothing")), "letters, digits, - and _"),
    "long dimension": (dimensions(replace(TAG, name="a" * 256)), "1 to 255"),
    "no default": (dimensions(replace(TAG, default="")), "default value"),
    "default": (dimensions(replace(TAG, default="a b")), "default value"),
    "long default": (dimensions(replace(TAG, default="a" * 256)), "default value"),
}


@pytest.mark.parametrize(("one", "words"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_is_refused_with_its_reason(one, words):
    with pytest.raises(UsageError, match=words):
        checked(one, KNOWN)


@pytest.mark.parametrize(
    "name",
    ["Received", "To", "From", "DKIM-Signature", "CC", "message-id", "Return-Path", "cC", "FROM", "Message-ID"],
)
def test_some_headers_are_no_dimensions_in_any_letter_case(name):
    with pytest.raises(UsageError, match="cannot be a dimension"):
        checked(dimensions(Dimension(name, DimensionSource.EMAIL_HEADER, "x")), KNOWN)
    checked(dimensions(Dimension(name, DimensionSource.MESSAGE_TAG, "x")), KNOWN)


def test_whole_automatic_tags_may_be_dimensions():
    checked(dimensions(replace(TAG, name="ses:configuration-set"), replace(TAG, default="a_b-c@d.e")), KNOWN)


BROKEN = {
    "none": ({}, "exactly one"),
    "two": ({"SnsDestination": {"TopicArn": "a"}, "EventBridgeDestination": {"EventBusArn": "b"}}, "exactly one"),
    "pinpoint": ({"PinpointDestination": {"ApplicationArn": "a"}}, "Pinpoint"),
    "topic": ({"SnsDestination": {"x": 1}}, "TopicArn is required"),
    "no object": ({"SnsDestination": "arn"}, "is an object"),
    "stream": ({"KinesisFirehoseDestination": {"DeliveryStreamArn": "a"}}, "IamRoleArn is required"),
    "types": ({"SnsDestination": {"TopicArn": "a"}, "MatchingEventTypes": ["send"]}, "no event type 'send'"),
    "types text": ({"SnsDestination": {"TopicArn": "a"}, "MatchingEventTypes": "SEND"}, "is a list"),
    "enabled": ({"SnsDestination": {"TopicArn": "a"}, "Enabled": "yes"}, "true or false"),
    "dimension": ({"CloudWatchDestination": {"DimensionConfigurations": ["x"]}}, "is an object"),
    "dimension parts": (
        {"CloudWatchDestination": {"DimensionConfigurations": [{"DimensionName": "a"}]}},
        "DimensionValueSource is required",
    ),
    "dimension source": (
        {"CloudWatchDestination": {"DimensionConfigurations": [{"DimensionValueSource": "TAG"}]}},
        "one of MESSAGE_TAG",
    ),
}


@pytest.mark.parametrize(("shape", "words"), BROKEN.values(), ids=BROKEN)
def test_broken_shapes_are_refused(shape, words):
    with pytest.raises(UsageError, match=words):
        from_api(ACCOUNT, "set", "d", shape)


def test_enabled_is_false_where_it_is_left_out():
    made = from_api(ACCOUNT, "set", "d", {"SnsDestination": {"TopicArn": "a"}, "MatchingEventTypes": ["SEND"]})
    assert not made.enabled


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("SEND", EventType.SEND),
        ("renderingFailure", EventType.RENDERING_FAILURE),
        ("Rendering Failure", EventType.RENDERING_FAILURE),
        ("rendering-failure", EventType.RENDERING_FAILURE),
        ("deliverydelay", EventType.DELIVERY_DELAY),
        (" delivery_delay ", EventType.DELIVERY_DELAY),
    ],
)
def test_event_types_by_each_of_their_names(text, kind):
    assert parse_type(text) is kind


def test_what_is_no_event_type():
    with pytest.raises(UsageError, match="no event type"):
        parse_type("")
    with pytest.raises(UsageError, match="no event type 'sent'"):
        parse_type("sent")


def test_destinations_want_their_types_while_they_are_enabled():
    assert STREAM.wants("Bounce")
    assert not STREAM.wants("Delivery")
    assert not STREAM.wants("Something")
    assert not replace(STREAM, enabled=False).wants("Bounce")


@pytest.mark.parametrize("kind", [DestinationKind.TOPIC, DestinationKind.STREAM, DestinationKind.BUS])
def test_names_and_arns(kind):
    assert target_name(kind, target_arn(kind, "r", ACCOUNT, "name")) == "name"
