"""What is decided about DKIM keys, by tables."""

import pytest

from relay.model.dkim import MAY_BECOME, DkimKey, DkimSettings, KeyOrigin, KeyState
from relay.policy import dkim as policy

DAY = 86_400_000
NOW = 100 * DAY
PENDING, STANDBY, ACTIVE, RETIRED = KeyState.PENDING, KeyState.STANDBY, KeyState.ACTIVE, KeyState.RETIRED
EASY, OWN = KeyOrigin.AWS_SES, KeyOrigin.EXTERNAL


def key(selector, state, origin=EASY, *, algorithm="rsa-sha256", retired_ms=0, created_ms=0):
    return DkimKey(selector, algorithm, f"v=DKIM1; k=rsa; p={selector}", state, created_ms, origin, retired_ms)


def second(selector, state):
    return key(selector, state, algorithm="ed25519-sha256")


def states(keys, moves):
    return {one.selector: moves.get(one.selector, one.state) for one in keys}


FRESH = [key("a", PENDING), key("b", PENDING), key("c", PENDING), second("e", PENDING)]
RUNNING = [key("a", ACTIVE), key("b", STANDBY), key("c", STANDBY), second("e", ACTIVE)]
SWITCHING = [*RUNNING, key("own", PENDING, OWN)]


@pytest.mark.req("DKIM-001", "DKIM-010")
@pytest.mark.parametrize(
    ("keys", "found", "after"),
    [
        (FRESH, None, {"a": ACTIVE, "b": STANDBY, "c": STANDBY, "e": ACTIVE}),
        (FRESH, ["a", "b", "c"], {"a": ACTIVE, "b": STANDBY, "c": STANDBY, "e": PENDING}),
        (FRESH, ["a", "b", "e"], {"a": PENDING, "b": PENDING, "c": PENDING, "e": PENDING}),
        (FRESH, [], {"a": PENDING, "b": PENDING, "c": PENDING, "e": PENDING}),
        (RUNNING, None, {"a": ACTIVE, "b": STANDBY, "c": STANDBY, "e": ACTIVE}),
        ([*RUNNING[:3], second("e", PENDING)], ["e"], {"a": ACTIVE, "b": STANDBY, "c": STANDBY, "e": ACTIVE}),
        (SWITCHING, ["a", "b", "c"], {"a": ACTIVE, "b": STANDBY, "c": STANDBY, "e": ACTIVE, "own": PENDING}),
        (SWITCHING, ["own"], {"a": RETIRED, "b": RETIRED, "c": RETIRED, "e": ACTIVE, "own": ACTIVE}),
    ],
)
def test_keys_take_over_together_when_they_are_found(keys, found, after):
    assert states(keys, policy.activation(keys, found)) == after


@pytest.mark.req("DKIM-010", "DKIM-011")
@pytest.mark.parametrize(
    ("keys", "after"),
    [
        (RUNNING, {"a": PENDING, "b": PENDING, "c": PENDING, "e": PENDING}),
        (SWITCHING, {"a": ACTIVE, "b": STANDBY, "c": STANDBY, "e": ACTIVE, "own": PENDING}),
        (FRESH, {"a": PENDING, "b": PENDING, "c": PENDING, "e": PENDING}),
    ],
)
def test_after_a_failed_check_setup_begins_anew(keys, after):
    assert states(keys, policy.loss(keys)) == after


@pytest.mark.req("DKIM-001", "DKIM-008")
def test_what_dns_must_say():
    def required(keys):
        return {one.selector: one.required for one in policy.expected("x.example", keys)}

    assert required(RUNNING) == {"a": True, "b": True, "c": True, "e": False}
    assert required(SWITCHING) == {"a": False, "b": False, "c": False, "e": False, "own": True}
    assert required([key("old", RETIRED), key("own", ACTIVE, OWN)]) == {"own": True}
    (own,) = policy.expected("x.example", [key("own", ACTIVE, OWN)])
    assert (own.name, own.public_txt) == ("own._domainkey.x.example", "v=DKIM1; k=rsa; p=own")


@pytest.mark.req("DKIM-005")
def test_the_key_that_rested_longest_is_next():
    keys = [
        key("a", ACTIVE, created_ms=1),
        key("b", STANDBY, created_ms=1, retired_ms=2 * DAY),
        key("c", STANDBY, created_ms=1),
        key("d", STANDBY, created_ms=3 * DAY, retired_ms=DAY),
        key("e", PENDING),
        key("f", RETIRED),
        second("g", STANDBY),
    ]
    assert [one.selector for one in policy.successors(keys)] == ["c", "b", "d"]


@pytest.mark.req("DKIM-005")
@pytest.mark.parametrize(
    ("one", "others", "origin", "fate"),
    [
        (key("a", RETIRED, retired_ms=NOW - 7 * DAY + 1), [], EASY, "keep"),
        (key("a", RETIRED, retired_ms=NOW - 7 * DAY), [key("b", ACTIVE), key("c", STANDBY)], EASY, "stand by"),
        (key("a", RETIRED, retired_ms=NOW - 7 * DAY), RUNNING, EASY, "delete"),
        (key("a", RETIRED, retired_ms=NOW - 70 * DAY), [key("own", ACTIVE, OWN)], OWN, "keep"),
        (key("a", RETIRED, OWN, retired_ms=NOW - 6 * DAY), [], OWN, "keep"),
        (key("a", RETIRED, OWN, retired_ms=NOW - 7 * DAY), [], OWN, "delete"),
        (key("a", RETIRED, OWN, retired_ms=NOW - 7 * DAY), RUNNING, EASY, "delete"),
    ],
)
def test_what_becomes_of_retired_keys(one, others, origin, fate):
    assert policy.after_retirement(one, [one, *others], origin, NOW) == fate


def test_easy_dkim_has_three_tokens():
    def tokens(keys):
        return [one.selector for one in policy.easy_set(keys)]

    assert tokens(RUNNING) == ["a", "b", "c"]
    rotated = [key("a", RETIRED, retired_ms=5), key("b", ACTIVE), key("c", STANDBY)]
    assert tokens([*rotated, key("old", RETIRED, retired_ms=3)]) == ["a", "b", "c"]
    assert tokens([*rotated, key("x", PENDING), key("y", PENDING), key("z", PENDING)]) == ["x", "y", "z"]


@pytest.mark.req("DKIM-003", "DKIM-004")
@pytest.mark.parametrize(
    ("now_length", "wanted", "changed_ms", "why"),
    [
        ("RSA_2048_BIT", "RSA_2048_BIT", 0, "is RSA_2048_BIT already"),
        ("RSA_2048_BIT", "RSA_1024_BIT", 0, "no longer made"),
        ("RSA_2048_BIT", "RSA_4096_BIT", 0, "not 'RSA_4096_BIT'"),
        ("RSA_1024_BIT", "RSA_2048_BIT", NOW - DAY + 1, "less than 24 hours ago"),
        ("RSA_1024_BIT", "RSA_2048_BIT", NOW - DAY, ""),
    ],
)
def test_key_lengths(now_length, wanted, changed_ms, why):
    settings = DkimSettings(None, EASY, now_length, changed_ms, 0)
    said = policy.refuse_length(settings, wanted, NOW)
    assert why in said if why else said == ""
    assert not said or said.startswith("The input you provided is invalid: ")


PUBLIC = "v=DKIM1; k=rsa; p=QUJDRA=="


@pytest.mark.req("DKIM-002", "DKIM-008")
@pytest.mark.parametrize(
    ("texts", "known"),
    [
        ([PUBLIC], True),
        (["p=QUJDRA=="], True),
        (["p=QUJDRA==;"], True),
        (["k=rsa; p=QUJD RA==\t; v=DKIM1"], True),
        (["v=DKIM1; h=sha1:sha256; s=email; t=s; n=note; p=QUJDRA=="], True),
        (["v=DKIM1; s=*; p=QUJDRA=="], True),
        ([PUBLIC, "v=spf1 -all"], True),
        ([PUBLIC, PUBLIC], True),
        ([PUBLIC, "v=DKIM1; p=WFla"], False),
        (["v=DKIM1; p=WFla"], False),
        (["v=DKIM1; p="], False),
        (["v=DKIM1; h=sha1; p=QUJDRA=="], False),
        (["v=DKIM1; s=other; p=QUJDRA=="], False),
        (["v=DKIM1; k=ed25519; p=QUJDRA=="], False),
        (["v=DKIM2; p=QUJDRA=="], False),
        (["QUJDRA=="], False),
        ([], False),
        (["\udcff;=;p"], False),
    ],
)
def test_which_records_make_a_key_known(texts, known):
    assert policy.publishes(texts, PUBLIC) is known


def test_every_move_is_in_the_table():
    """Whatever the policy decides for any three keys, the life of a key allows it."""
    kinds = [(state, rsa, origin) for state in KeyState for rsa in (True, False) for origin in KeyOrigin]
    for first in kinds:
        for other in kinds:
            keys = [
                key(str(number), state, origin, algorithm="rsa-sha256" if rsa else "ed25519-sha256")
                for number, (state, rsa, origin) in enumerate((first, other, first))
            ]
            for moves in (policy.activation(keys, None), policy.activation(keys, ["0", "2"]), policy.loss(keys)):
                for one in keys:
                    if one.selector in moves:
                        assert moves[one.selector] in MAY_BECOME[one.state]
