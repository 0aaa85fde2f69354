"""Patterns against Python's own regular expressions, what is refused, and texts made to be slow."""

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.schedule.patterns import TEXT_MAX, PatternError, PatternSet, check

PATTERNS = [
    "abc", "^abc", "abc$", "^abc$", "a.c", "[a-c]x", "[^a-c]x", r"\d+x", r"\w\s\w", r"\D\W\S", "ab|cd", "(ab|cd)+e",
    "a?b", "a*b", "a+b", "a{2}b", "a{2,4}b", "a{0,3}b", "a{2,}b", "(ab?){1,2}c", "(?:a|b)*c", "x(a*)*y",
    r"\[tss\d{2}\]",
    r"1\.2", "too many.{0,4}b", "(a|ab)(c|bcd)", "[]a]b", "[a-]b", r"[\d.]+c",
]  # fmt: skip


@pytest.mark.parametrize("pattern", PATTERNS)
@given(text=st.text(alphabet="abcdexy12. []-ts\nABC", max_size=14))
def test_says_what_a_backtracking_engine_says(pattern, text):
    wanted = re.search(pattern.replace("$", r"\Z"), text, re.IGNORECASE | re.DOTALL) is not None
    assert bool(PatternSet([pattern]).search(text)) is wanted


@given(text=st.text(alphabet="abcdexy12. []-ts", max_size=20))
def test_a_set_says_what_each_of_its_patterns_says(text):
    found = PatternSet(PATTERNS).search(text)
    assert found == [number for number, one in enumerate(PATTERNS) if PatternSet([one]).search(text)]


@pytest.mark.parametrize(
    ("pattern", "about"),
    [
        ("", "1 to 500 characters"),
        ("a" * 501, "1 to 500 characters"),
        ("a*", "fits every text"),
        ("(a", "without its `)`"),
        ("a)", "without its `(`"),
        ("[a", "without its `]`"),
        ("a**", "repeats a repetition"),
        ("a+?", "lazy"),
        ("*a", "repeats nothing"),
        ("a{x}", "no count"),
        ("a{3", "no count"),
        ("a{0}", "between 1 and 100"),
        ("a{5,2}", "between 1 and 100"),
        ("a{101}", "between 1 and 100"),
        ("((a{100}){100}){100}", "600 characters"),
        ("a||b", "without any character"),
        ("()", "without any character"),
        (r"\bspam", "not supported"),
        (r"(a)\1", "not supported"),
        ("(?=a)b", "not supported"),
        ("a^b", "write \\^"),
        ("(" * 11 + "a" + ")" * 11, "10 deep"),
        ("[b-a]", "no characters"),
    ],
)
def test_what_cannot_be_used_is_told(pattern, about):
    with pytest.raises(PatternError, match=re.escape(about)):
        check(pattern)


def test_only_the_first_thousand_characters_count():
    assert PatternSet(["end"]).search("x" * (TEXT_MAX - 3) + "end") == [0]
    assert PatternSet(["end"]).search("x" * (TEXT_MAX - 2) + "end") == []


HOSTILE = ["(a+)+$", "(a|aa)+b", "(a*)*b", "a.{0,90}b.{0,90}c.{0,90}d", "([a-z]+)*x1", "(.|a)*.*b", ".*.*.*=x"]


def test_texts_made_to_be_slow_are_not():
    """A backtracking engine takes longer than the universe for some of these; the bound here is generous."""
    texts = [
        "a" * 1000,
        "a" * 999 + "!",
        "ab" * 500,
        "abcab" * 200,
        "".join(chr(97 + n * 7 % 26) for n in range(1000)),
    ]
    patterns = PatternSet(HOSTILE * 3)
    started = time.process_time()
    for text in texts:
        patterns.search(text)
    assert time.process_time() - started < 2


def test_what_is_remembered_is_bounded():
    patterns = PatternSet([".{0,30}a.{0,30}b", "x.{0,60}y"])
    for seed in range(60):
        patterns.search("".join("abxyz"[(n * n + seed * n) % 5] for n in range(1000)))
    assert sum(len(node.edges) for node in patterns._nodes.values()) <= 5001
