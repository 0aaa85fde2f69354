"""Event destinations through the command line."""

from pathlib import Path

import pytest

PUBLISHING = """
streams:
  - {name: lines}
buses:
  - {name: default, url: "https://consumer.example.test/events"}
"""


@pytest.fixture
def publishing(site):
    config = Path(site.config)
    config.write_text(config.read_text() + PUBLISHING)
    site.call("configuration-set", "create", "news")
    return site


def create(site, name, *arguments, code=0):
    return site.call("event-destination", "create", "news", name, *arguments, code=code)


@pytest.mark.req("DEST-001", "DEST-002", "DEST-004", "DEST-007")
def test_a_destination_is_made_shown_changed_and_deleted(publishing):
    site = publishing
    role = "arn:aws:iam::000000000001:role/r"
    create(site, "all-lines", "--stream", "lines", "--types", "send,Bounce,renderingFailure", "--role", role)
    (shown,) = site.json("event-destination", "show", "news", "all-lines")
    assert shown == {
        "Account": "000000000001",
        "ConfigurationSetName": "news",
        "Name": "all-lines",
        "Enabled": True,
        "MatchingEventTypes": ["SEND", "BOUNCE", "RENDERING_FAILURE"],
        "KinesisFirehoseDestination": {
            "IamRoleArn": role,
            "DeliveryStreamArn": "arn:aws:firehose:local-1:000000000001:deliverystream/lines",
        },
    }
    (changed,) = site.json("event-destination", "update", "news", "all-lines", "--types", "all", "--bus", "default")
    assert len(changed["MatchingEventTypes"]) == 10
    assert changed["EventBridgeDestination"] == {
        "EventBusArn": "arn:aws:events:local-1:000000000001:event-bus/default"
    }
    assert "KinesisFirehoseDestination" not in changed
    assert site.json("event-destination", "list", "news") == [changed]
    site.call("event-destination", "delete", "news", "all-lines")
    assert site.json("event-destination", "list", "news") == []
    site.call("event-destination", "show", "news", "all-lines", code=64)
    site.call("event-destination", "delete", "news", "all-lines", code=64)


@pytest.mark.req("DEST-005")
def test_a_destination_is_switched_off_and_on(publishing):
    site = publishing
    create(site, "off", "--bus", "default", "--types", "all", "--disabled")
    assert site.json("event-destination", "show", "news", "off")[0]["Enabled"] is False
    assert site.json("event-destination", "enable", "news", "off")[0]["Enabled"] is True
    assert site.json("event-destination", "disable", "news", "off")[0]["Enabled"] is False
    assert "disabled" in site.call("event-destination", "list", "news")[0]


@pytest.mark.req("DEST-012", "DEST-013", "DEST-015")
def test_metrics_destinations_have_dimensions(publishing):
    site = publishing
    given = ("--dimension", "MESSAGE_TAG:ses:configuration-set=none", "--dimension", "email-header:X-Campaign=a.b")
    create(site, "metrics", "--types", "send", *given)
    (shown,) = site.json("event-destination", "show", "news", "metrics")
    assert shown["CloudWatchDestination"]["DimensionConfigurations"] == [
        {
            "DimensionName": "ses:configuration-set",
            "DimensionValueSource": "MESSAGE_TAG",
            "DefaultDimensionValue": "none",
        },
        {"DimensionName": "X-Campaign", "DimensionValueSource": "EMAIL_HEADER", "DefaultDimensionValue": "a.b"},
    ]
    for wrong in ("campaign", "TAG:a=b", "MESSAGE_TAG:a", "MESSAGE_TAG:a=", "MESSAGE_TAG:a b=c"):
        create(site, "wrong", "--types", "send", "--dimension", wrong, code=64)
    eleven = [part for n in range(11) for part in ("--dimension", f"MESSAGE_TAG:n{n}=x")]
    create(site, "wrong", "--types", "send", *eleven, code=64)


@pytest.mark.req("DEST-016")
@pytest.mark.parametrize("header", ["Received", "to", "FROM", "DKIM-Signature", "Cc", "Message-ID", "return-path"])
def test_some_headers_cannot_be_dimensions(publishing, header):
    _, error = create(publishing, "h", "--types", "send", "--dimension", f"EMAIL_HEADER:{header}=x", code=64)
    assert f"header {header} cannot" in error


@pytest.mark.req("DEST-003", "DEST-006", "TOPIC-001", "TOPIC-004")
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--stream", "nothing"), "no stream nothing under `streams`"),
        (("--bus", "nothing"), "no bus nothing under `buses`"),
        (("--topic", "orders.fifo"), "InvalidParameterValue: Invalid Amazon SNS topic"),
        (("--topic", "arn:aws:sns:elsewhere-1:000000000001:t"), "InvalidParameterValue: Invalid Amazon SNS topic"),
        (("--topic", "a b"), "InvalidParameterValue: Invalid Amazon SNS topic"),
        (("--stream", "lines", "--bus", "default"), "exactly one"),
        ((), "Say where events go"),
    ],
)
def test_an_unusable_target_is_refused_by_name(publishing, arguments, words):
    _, error = create(publishing, "d", "--types", "send", *arguments, code=64)
    assert words in error


@pytest.mark.req("CFG-004", "CFG-010", "DEST-004")
def test_names_are_unique_ten_at_most_and_gone_with_their_set(publishing):
    site = publishing
    for number in range(10):
        create(site, f"d{number}", "--bus", "default", "--types", "send")
    _, error = create(site, "d10", "--bus", "default", "--types", "send", code=64)
    assert "at most 10" in error
    _, error = create(site, "d9", "--bus", "default", "--types", "send", code=64)
    assert "already" in error
    create(site, "a.b", "--bus", "default", "--types", "send", code=64)
    site.call("configuration-set", "create", "other")
    site.call("event-destination", "create", "other", "d1", "--bus", "default", "--types", "send")
    site.call("configuration-set", "delete", "news")
    site.call("event-destination", "list", "news", code=64)
    site.call("configuration-set", "create", "news")
    assert site.json("event-destination", "list", "news") == []
    assert len(site.json("event-destination", "list", "other")) == 1


@pytest.mark.req("DEST-002")
@pytest.mark.parametrize("types", ["", "sent", "send,,bounce"])
def test_a_destination_needs_event_types_that_there_are(publishing, types):
    create(publishing, "d", "--bus", "default", "--types", types, code=64)


def test_an_unknown_set_is_refused(publishing):
    publishing.call("event-destination", "create", "nothing", "d", "--bus", "default", "--types", "send", code=64)


def test_changes_are_in_the_audit_log(publishing):
    create(publishing, "d", "--bus", "default", "--types", "send")
    text = (publishing.directory / "relay" / "data" / "audit.jsonl").read_text()
    assert "event-destination.create" in text
