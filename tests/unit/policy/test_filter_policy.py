"""Filter policies: what each condition takes, and what is refused (TOPIC-144)."""

import json
import time

import pytest

from relay.errors import RequestRefusedError
from relay.model.topic import Attribute, FilterScope
from relay.policy.filter_policy import Filtered, filter_of

ATTRIBUTES = {
    "store": Attribute("String", "example_corp"),
    "event": Attribute("String", "order_cancelled"),
    "price": Attribute("Number", "210.75"),
    "tags": Attribute("String.Array", '["red", "round", 5]'),
    "source": Attribute("String", "10.0.0.7"),
    "blob": Attribute("Binary", "AAAA"),
    "five": Attribute("String", "5"),
}
BODY = {
    "eventType": "Bounce",
    "bounce": {"bounceType": "Permanent", "count": 3, "gone": None, "hard": True},
    "mail": {"destination": ["a@example.com", "b@example.org"], "tags": {"ses:from-domain": ["example.com"]}},
    "items": [{"name": "x", "size": 1}, {"name": "y", "size": 20}],
}


def by_attributes(**policy):
    return filter_of(json.dumps(policy), FilterScope.ATTRIBUTES).takes(Filtered("text", ATTRIBUTES))


def by_body(body, policy):
    text = body if isinstance(body, str) else json.dumps(body)
    return filter_of(json.dumps(policy), FilterScope.BODY).takes(Filtered(text, {}))


@pytest.mark.req("TOPIC-144")
@pytest.mark.parametrize(
    ("policy", "takes"),
    [
        ({"store": ["example_corp"]}, True),
        ({"store": ["other", "example_corp"]}, True),
        ({"store": ["Example_Corp"]}, False),
        ({"store": [{"equals-ignore-case": "EXAMPLE_corp"}]}, True),
        ({"event": [{"prefix": "order_"}]}, True),
        ({"event": [{"prefix": "cancelled"}]}, False),
        ({"event": [{"suffix": "cancelled"}]}, True),
        ({"event": [{"anything-but": "order_cancelled"}]}, False),
        ({"event": [{"anything-but": ["a", "b"]}]}, True),
        ({"event": [{"anything-but": {"prefix": "order"}}]}, False),
        ({"event": [{"anything-but": {"suffix": "x"}}]}, True),
        ({"missing": [{"anything-but": "x"}]}, False),
        ({"price": [210.75]}, True),
        ({"price": ["210.75"]}, False),
        ({"price": [{"numeric": ["=", 210.75]}]}, True),
        ({"price": [{"numeric": [">", 200, "<=", 210.75]}]}, True),
        ({"price": [{"numeric": ["<", 210.75]}]}, False),
        ({"five": [{"numeric": ["=", 5]}]}, False),
        ({"five": [5]}, False),
        ({"tags": ["round"]}, True),
        ({"tags": [5]}, True),
        ({"tags": ["blue"]}, False),
        ({"store": [{"exists": True}]}, True),
        ({"store": [{"exists": False}]}, False),
        ({"missing": [{"exists": False}]}, True),
        ({"missing": ["x", {"exists": False}]}, True),
        ({"blob": ["AAAA"]}, False),
        ({"blob": [{"exists": True}]}, True),
        ({"source": [{"cidr": "10.0.0.0/24"}]}, True),
        ({"source": [{"cidr": "10.0.1.0/24"}]}, False),
        ({"store": ["example_corp"], "event": ["other"]}, False),
        ({"$or": [{"store": ["x"]}, {"price": [{"numeric": [">", 1]}]}]}, True),
        ({"$or": [{"store": ["x"]}, {"event": ["y"]}]}, False),
        ({"store": ["example_corp"], "$or": [{"event": ["y"]}, {"tags": ["red"]}]}, True),
    ],
)
def test_attributes(policy, takes):
    assert by_attributes(**policy) is takes


@pytest.mark.req("TOPIC-144")
@pytest.mark.parametrize(
    ("policy", "takes"),
    [
        ({"eventType": ["Bounce"]}, True),
        ({"bounce": {"bounceType": ["Permanent"]}}, True),
        ({"bounce": {"bounceType": ["Transient"]}}, False),
        ({"bounce": {"count": [{"numeric": [">=", 3]}]}}, True),
        ({"bounce": {"gone": [None]}}, True),
        ({"bounce": {"hard": [True]}}, True),
        ({"bounce": {"hard": [1]}}, False),
        ({"bounce": {"count": [True]}}, False),
        ({"mail": {"destination": [{"suffix": "@example.org"}]}}, True),
        ({"mail": {"tags": {"ses:from-domain": ["example.com"]}}}, True),
        ({"items": {"name": ["y"]}}, True),
        ({"complaint": {"x": [{"exists": False}]}}, True),
        ({"$or": [{"eventType": ["Complaint"]}, {"bounce": {"bounceType": ["Permanent"]}}]}, True),
        ({"bounce": {"$or": [{"bounceType": ["Transient"]}, {"count": [3]}]}}, True),
    ],
)
def test_bodies(policy, takes):
    assert by_body(BODY, policy) is takes


@pytest.mark.req("TOPIC-144")
@pytest.mark.parametrize("body", ["no json", "[1]", '"x"', "{", "[" * 100_000, '{"a":' * 5000 + "1" + "}" * 5000])
def test_a_text_that_is_no_object_reaches_no_body_filter(body):
    assert not by_body(body, {"eventType": ["Bounce"]})


@pytest.mark.req("TOPIC-144")
@pytest.mark.parametrize(
    ("policy", "scope", "reason"),
    [
        ({f"n{n}": ["x"] for n in range(6)}, FilterScope.ATTRIBUTES, "more than 5 names"),
        ({"a": "x"}, FilterScope.ATTRIBUTES, "list of conditions"),
        ({"a": []}, FilterScope.ATTRIBUTES, "empty list"),
        ({"a": {"b": ["x"]}}, FilterScope.ATTRIBUTES, "list of conditions"),
        ({"a": [{"b": {"c": 1}}]}, FilterScope.BODY, "no operator"),
        ({"a": [{"prefix": 5}]}, FilterScope.BODY, "needs a text"),
        ({"a": [{"prefix": "x", "suffix": "y"}]}, FilterScope.BODY, "one operator"),
        ({"a": [{"numeric": ["~", 5]}]}, FilterScope.BODY, "knows"),
        ({"a": [{"numeric": [">", 5, "<"]}]}, FilterScope.BODY, "needs a list"),
        ({"a": [{"numeric": [">", 1e10]}]}, FilterScope.BODY, "lies between"),
        ({"a": [{"exists": "yes"}]}, FilterScope.BODY, "true or false"),
        ({"a": [{"cidr": "10.0.0.0/99"}]}, FilterScope.BODY, "range"),
        ({"a": [{"anything-but": {"numeric": [1]}}]}, FilterScope.BODY, "prefix and suffix"),
        ({"a": [None]}, FilterScope.ATTRIBUTES, "body only"),
        ({"$or": [{}]}, FilterScope.BODY, "empty alternative"),
        ({"a": {"b": {"c": {"d": {"e": {"f": [1]}}}}}}, FilterScope.BODY, "deeper"),
        ({"a": [str(n) for n in range(20)], "b": [str(n) for n in range(20)]}, FilterScope.BODY, "combinations"),
        ({}, FilterScope.ATTRIBUTES, "names nothing"),
    ],
)
def test_broken_policies_say_what_is_wrong(policy, scope, reason):
    with pytest.raises(RequestRefusedError, match=reason) as refusal:
        filter_of(json.dumps(policy), scope)
    assert refusal.value.code == "InvalidParameter"


def test_hostile_messages_cost_little():
    policy = {"a": {"b": [{"anything-but": [str(n) for n in range(100)]}, {"suffix": "x" * 1000}]}}
    body = json.dumps({"a": [{"b": "x" * 10} for _ in range(15_000)]})
    begun = time.process_time()
    by_body(body, policy)
    assert time.process_time() - begun < 5  # a second at most here; what matters is that it does not explode
