"""The CSV of SNDS: good lines, bad ones, and what its days tell."""

import csv
import io
import random
import string

import pytest

from relay.reputation.snds import FAULTS_MAX, BadSndsError, Figures, newest, newly_bad, read_feed

LINE = (
    "192.0.2.1,11/23/2026 12:00 AM,11/24/2026 12:00 AM,381,360,379,GREEN,< 0.1%,,,0,mail.example.com,x@example.com,"
)


def cells(**changes):
    """Return the line with some columns changed, by their number: c6="RED"."""
    row = next(csv.reader([LINE]))
    for name, value in changes.items():
        row[int(name[1:])] = value
    out = io.StringIO()
    csv.writer(out).writerow(row)
    return out.getvalue()


def one(text):
    (found,) = read_feed(text.encode()).figures
    return found


def test_a_line_becomes_figures():
    assert one(LINE) == Figures("192.0.2.1", "2026-11-23T00:00:00", "2026-11-24T00:00:00", 381, 360, 379, 0.0, 0.0, 0)


@pytest.mark.req("SNDS-002")
@pytest.mark.parametrize(
    ("colour", "rate"), [("GREEN", 0.0), ("YELLOW", 0.5), ("RED", 1.0), ("red", 1.0), (" Green ", 0.0)]
)
def test_the_filter_result_is_a_spam_rate(colour, rate):
    assert one(cells(c6=colour)).spam_rate == rate


@pytest.mark.req("SNDS-002")
@pytest.mark.parametrize(
    ("text", "share"),
    [("< 0.1%", 0.0), ("<0.1%", 0.0), ("0.1%", 0.001), ("5%", 0.05), ("0.3 %", 0.003), ("100%", 1.0), ("", None)],
)
def test_the_complaint_rate_is_a_share(text, share):
    assert one(cells(c7=text)).complaint_rate == share


@pytest.mark.parametrize(
    "text",
    [
        "\ufeff" + LINE,
        LINE + "\r\n",
        LINE.replace("12:00 AM", "12:00:00 AM"),
        ",".join(LINE.split(",")[:11]),
        cells(c13='a comment, "quoted"'),
        "\r\n" + LINE,
    ],
)
def test_forms_that_mean_the_same(text):
    assert one(text) == one(LINE)


def test_addresses_of_both_families_and_a_gap_for_trap_hits():
    found = one(cells(c0="2001:DB8:0::1", c10=""))
    assert (found.address, found.trap_hits) == ("2001:db8::1", None)


def test_an_empty_answer_has_no_figures():
    assert read_feed(b"").figures == read_feed(b"\r\n\r\n").figures == ()


BAD = {
    "not an address": cells(c0="mail.example.com"),
    "no begin": cells(c1=""),
    "another order of the date": cells(c1="2026-11-23 00:00"),
    "an end before the begin": cells(c2="11/22/2026 12:00 AM"),
    "a month": cells(c2="12/23/2026 12:00 AM"),
    "a negative count": cells(c3="-1"),
    "a fraction": cells(c4="1.5"),
    "no count": cells(c5=""),
    "digits of another script": cells(c3="\u0663"),
    "a colour that is none": cells(c6="BLUE"),
    "a rate that is none": cells(c7="many"),
    "a rate over all": cells(c7="101%"),
    "trap hits that are none": cells(c10="some"),
    "too few columns": "192.0.2.1,11/23/2026 12:00 AM",
    "too many columns": LINE + ",,,",
    "a long cell": cells(c13="x" * 1001),
    "a page": "<html><body>Sign in</body></html>",
}


@pytest.mark.parametrize("text", BAD.values(), ids=BAD)
def test_a_bad_line_is_passed_over_and_told(text):
    found = read_feed(f"{LINE}\r\n{text.strip()}\r\n{cells(c0='192.0.2.2')}".encode())
    assert [figures.address for figures in found.figures] == ["192.0.2.1", "192.0.2.2"]
    assert found.bad == 1
    assert found.faults[0].startswith("line 2: ")
    with pytest.raises(BadSndsError, match="no line of it"):
        read_feed(text.encode())


@pytest.mark.parametrize(
    "answer",
    [b"\xff\xfe", b'"never closed\n', f"{LINE}\n".encode() * 20_001, b'"' + b"x" * 200_000 + b'"\n'],
    ids=["no UTF-8", "an open quote", "too many lines", "a huge cell"],
)
def test_an_answer_that_is_none_is_refused_whole(answer):
    with pytest.raises(BadSndsError):
        read_feed(answer)


def test_many_bad_lines_are_counted_and_some_told():
    found = read_feed(f"{LINE}\n".encode() + b"nonsense\n" * 1000)
    assert (found.bad, len(found.faults)) == (1000, FAULTS_MAX)


def test_noise_is_a_value_or_our_error():
    noise = random.Random(5)
    letters = string.printable + "\u0663\u202e\ud7ff"
    for _ in range(3000):
        text = list(LINE)
        for _change in range(noise.randint(1, 6)):
            text[noise.randrange(len(text))] = noise.choice(letters)
        try:
            read_feed("".join(text).encode())
        except BadSndsError:
            continue


def day(number, spam_rate, address="192.0.2.1"):
    return Figures(
        address, f"2026-11-{number:02d}T00:00:00", f"2026-11-{number + 1:02d}T00:00:00", 9, 9, 9, spam_rate, 0.0, 0
    )


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ([], [day(3, 1.0)], [3]),
        ([], [day(3, 0.5)], []),
        ([day(2, 0.5)], [day(3, 1.0)], [3]),
        ([day(2, 1.0)], [day(3, 1.0)], []),
        ([day(3, 0.0)], [day(3, 1.0)], []),  # the same day again
        ([day(4, 0.0)], [day(3, 1.0)], []),  # an old day
        ([day(1, 0.0)], [day(2, 1.0), day(3, 0.0)], []),  # over already
        ([day(1, 1.0)], [day(2, 0.0), day(3, 1.0)], [3]),
        ([day(1, 1.0, "192.0.2.9")], [day(2, 1.0)], [2]),
    ],
)
def test_only_a_turn_to_spam_is_news(before, after, told):
    assert [figures.begin[8:10] for figures in newly_bad(before, after)] == [f"{number:02d}" for number in told]


@pytest.mark.req("SNDS-003")
def test_a_day_without_figures_is_a_gap():
    now_ms = 1_795_780_800_000  # 2026-11-27T12:00:00Z
    figures = [day(24, 0.0), day(25, 0.5, "192.0.2.2")]
    assert newest(figures, now_ms) == [figures[1]]  # 192.0.2.1 has none for the newest day
    assert newest(figures, now_ms + 4 * 86_400_000) == []
    assert newest([], now_ms) == []
