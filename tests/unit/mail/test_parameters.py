"""Parameters: what is malformed and how that is said, what every reader may take a value for, and linear time."""

import time

import pytest

from relay.mail.parameters import media_type_fault, read_parameters


@pytest.mark.parametrize(
    "value",
    [
        "text/plain", "text/plain;", "text/plain; charset=utf-8", ' text / html ; charset = "utf-8" ; ', "a/b;;",
        "text/plain; name=two words.txt", "text/plain; charset=", "text/plain (so (it) is); charset=x (yes)",
        'multipart/mixed; boundary="a\\"b"', "application/x-a+b; x*0*=utf-8''%20; x*1=b",
    ],
)  # fmt: skip
def test_well_formed(value):
    assert media_type_fault(value) == ""


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("text;charset=x", "Expected '/', got ;"),
        ("text", "Expected '/', got end of field"),
        ("", "Expected MIME type, got end of field"),
        ("/plain", "Expected MIME type, got /"),
        ("text/", "Expected MIME subtype, got end of field"),
        ("text/;a=b", "Expected MIME subtype, got ;"),
        ("text/plain charset=x", "Expected ';', got charset"),
        ('a/b; c="d" e=f', "Expected ';', got e"),
        ("a/b; c", "Expected '=', got end of field"),
        ("a/b; =c", "Expected parameter name, got ="),
        ('a/b; c="d', "Expected '\"', got end of field"),
        ("a/\u20ac", "Expected MIME subtype, got ?"),
        ("a/b " + "x" * 5000, "Expected ';', got " + "x" * 40),
    ],
)
def test_faults_are_told_in_words_of_parsers(value, text):
    assert media_type_fault(value) == text


@pytest.mark.parametrize(
    ("value", "names"),
    [
        ('a; name="x.exe"', ["x.exe"]),
        ("a; NAME=x.exe; other=y", ["x.exe"]),
        ("a; name=two words.exe", ["two", "two words.exe"]),
        ('a; name="x".exe', ["x", "x.exe"]),
        ('a; name="a;b.exe', ["a;b.exe"]),
        ('a; name="\\x.exe"', ["x.exe"]),
        ("a; name=x.txt; name=y.exe", ["x.txt", "y.exe"]),
        ("a; name*=utf-8'de'%65vil.e%78e", ["evil.exe"]),
        ("a; name*=iso-8859-1''%E9.exe", ["\xe9.exe"]),
        ("a; name*1=.exe; name*0=evil", ["evil.exe"]),
        ("a; name*0*=utf-8''ev%69l; name*1=.e; name*2*=%78e", ["evil.exe"]),
        ("a; name*0=evil; name*2=.exe", ["evil.exe", "evil"]),
        ("a; name*x=evil.exe", ["evil.exe"]),
        ("a", []),
    ],
)
def test_every_reading_of_a_value(value, names):
    assert read_parameters(value).get("name", []) == names


@pytest.mark.parametrize(
    "value",
    [
        "a" + "".join(f";name*{number}=x" for number in range(20_000)),
        "a/b;" + ";" * 250_000,
        "a/b;(" + '"\\' * 120_000,
        "a/b (" * 50_000,
        "a/b;" + "(\\" * 120_000,
        "a/b; x" + " " * 250_000 + "y",
        "a/b" + ' ;x="' * 50_000,
    ],
    ids=range(7),
)
def test_hostile_values_take_linear_time(value):
    begun = time.process_time()
    media_type_fault(value)
    read_parameters(value)
    assert time.process_time() - begun < 10  # linear; what is not takes minutes
