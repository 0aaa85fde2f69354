"""The tutorial on analysis, run as it stands: its commands, its configuration, its queries and what they answer."""

import json
import re
import select
import shlex
import signal
import subprocess
from pathlib import Path

import pytest
import yaml

from relay.runtime.config.upkeep import EVENT_TYPES
from relay.runtime.observe.dashboard import events_dashboard
from relay.runtime.observe.table import BY_NAME
from tests.product import RELAY, Product, eventually

pytestmark = pytest.mark.timeout(180)

PAGE = Path(__file__).parents[2] / "docs" / "tutorial" / "analyse-with-sql.md"
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def sections():
    """Return the blocks of each section of the page: (language, text), by the section's title."""
    parts = re.split(r"^## (.*)$", PAGE.read_text(), flags=re.MULTILINE)
    return {title: BLOCK.findall(text) for title, text in zip(parts[1::2], parts[2::2], strict=True)}


SECTIONS = sections()


def queries(title):
    """Return the queries of a section, each with the answer that the page shows below it, "" for none."""
    blocks = SECTIONS[title]
    following = [*blocks[1:], ("", "")]
    return [
        (text, after if kind == "text" else "")
        for (language, text), (kind, after) in zip(blocks, following, strict=True)
        if language == "sql"
    ]


def shell(relay, title):
    """Run the commands of a section in order."""
    for language, text in SECTIONS[title]:
        for line in text.splitlines() if language == "sh" else ():
            words = shlex.split(line)
            assert words[0] == "relay"
            relay.run(*words[1:])


@pytest.fixture(scope="module")
def relay():
    (streams,) = (yaml.safe_load(text) for language, text in SECTIONS["Before you begin"] if language == "yaml")
    with Product(domain="", **streams) as product:
        shell(product, "Before you begin")
        eventually(lambda: len(stored(product, "events")) == 10, 60, "all events in the stream")
        eventually(lambda: len(list((product.data_dir / "streams" / "packed").rglob("*.gz"))) > 0, what="the other")
        eventually(lambda: len(product.rows("analyse", "select * from ses")) == 10, what="the archive")
        yield product


def stored(relay, stream):
    directory = relay.data_dir / "streams" / stream
    files = [path for path in sorted(directory.rglob("*.jsonl")) if ".incoming" not in path.parts]
    return [line for path in files for line in path.read_text().splitlines()]


def answer(relay, sql, *options):
    return relay.run("analyse", sql, *options).stdout


@pytest.mark.req("ANALYT-001", "ANALYT-002", "ANALYT-003", "ANALYT-009")
@pytest.mark.parametrize(("sql", "shown"), queries("Query with SQL"), ids=range(len(queries("Query with SQL"))))
@pytest.mark.parametrize("source", ["events", "packed", "archive"])
def test_queries_answer_what_the_page_says(relay, source, sql, shown):
    stream = ["--stream", str(relay.data_dir / "streams" / source)] if source != "archive" else []
    found = answer(relay, sql, *stream)
    if shown:
        assert found.splitlines() == shown.splitlines()
    else:
        assert len(found.splitlines()) > 1


@pytest.mark.req("ANALYT-002", "ANALYT-003")
def test_the_columns_are_those_of_the_walk_through(relay):
    stream = ["--stream", str(relay.data_dir / "streams" / "events")]
    rows = relay.rows("analyse", "select * from ses", *stream)
    records = [json.loads(line) for line in stored(relay, "events")]
    expected = [
        {
            "message_id": one["mail"]["messageId"],
            "event_type": one["eventType"],
            "sending_account_id": one["mail"]["sendingAccountId"],
            "timestamp": one["mail"]["timestamp"],
            "destination": ", ".join(one["mail"]["destination"]),
            "configuration_set": one["mail"]["tags"]["ses:configuration-set"][0],
            "campaign": one["mail"]["tags"]["campaign"][0],
        }
        for one in records
    ]
    order = json.dumps
    assert sorted(rows, key=order) == sorted(expected, key=order)


@pytest.mark.req("ANALYT-004")
def test_complaints_of_a_campaign_are_those_that_were_sent(relay):
    sent = sum("complaint@" in text and "campaign=book" in text for text in _sends("Before you begin"))
    sql = "select count(*) as n from ses where event_type = 'Complaint' and campaign like '%book%'"
    for stream in ("events", "packed"):
        rows = relay.rows("analyse", sql, "--stream", str(relay.data_dir / "streams" / stream))
        assert rows == [{"n": sent}]
    assert sent == 2


def _sends(title):
    return [line for language, text in SECTIONS[title] if language == "sh" for line in text.splitlines()]


@pytest.mark.req("ANALYT-001", "ANALYT-005", "ANALYT-009")
def test_the_graph_has_its_series(relay):
    shell(relay, "Graph")
    (shown,) = (text for language, text in SECTIONS["Graph"] if language == "text")

    def series():
        found = [line for line in relay.metrics().splitlines() if 'campaign="' in line]
        return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in found}

    expected = {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in shown.splitlines()}
    eventually(lambda: expected.items() <= series().items(), 60, "the series of the page")


@pytest.mark.req("ANALYT-005")
def test_the_shipped_dashboard_has_a_graph_of_each_type_by_dimension(relay):
    shipped = json.loads((PAGE.parents[2] / "config" / "grafana" / "events.json").read_text())
    assert shipped == json.loads(json.dumps(events_dashboard()))
    chosen = next(one for one in shipped["templating"]["list"] if one["name"] == "dimension")
    assert chosen["query"] == "campaign"
    graphs = [panel for panel in shipped["panels"] if panel["type"] == "timeseries"]
    queries = [target["expr"] for panel in graphs for target in panel["targets"]]
    for kind in EVENT_TYPES:
        name = re.sub(r"(?<=[a-z])(?=[A-Z])|\s", "_", kind).lower()
        metric = f"relay_ses_{name}_total"
        assert metric in BY_NAME
        assert len([query for query in queries if f"({metric}{{" in query and "by (${dimension})" in query]) == 1


@pytest.mark.req("ANALYT-001", "ANALYT-006", "ANALYT-007", "ANALYT-009")
def test_a_continuous_query_shows_new_sends_only(relay, tmp_path):
    (sql,) = (text for language, text in SECTIONS["Filter a live stream"] if language == "sql")
    start, send = (text.strip() for language, text in SECTIONS["Filter a live stream"] if language == "sh")
    (tmp_path / "live.sql").write_text(sql)
    words = [
        word if word != "data/streams/events" else str(relay.data_dir / "streams/events")
        for word in shlex.split(start)
    ]
    one = re.search(r"relay (send .*); sleep", send).group(1)
    command = [*RELAY, *words[1:], "-c", str(relay.config), "--every", "100ms"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=tmp_path) as process:
        try:
            rows = []
            sent = set()
            while len(rows) < 3:  # whatever is sent before it began is not new
                sent.add(_send(relay, one))
                rows += _lines(process, 1) if rows or _readable(process) else []
        finally:
            process.send_signal(signal.SIGINT)
    assert {row["eventType"] for row in rows} == {"Send"}
    assert {row["messageId"] for row in rows} <= sent
    assert len({row["messageId"] for row in rows}) == len(rows)
    for row in rows:
        assert list(row) == ["eventType", "ses_timestamp", "messageId", "ses_to", "ses_configuration_set"]
        assert row["ses_to"] == "success@simulator.amazonses.com"
        assert row["ses_configuration_set"] == "campaigns"


def _send(relay, words):
    return json.loads(relay.run(*shlex.split(words), "--json").stdout)["messageId"]


def _readable(process):
    return bool(select.select([process.stdout], [], [], 3)[0])


def _lines(process, count):
    return [json.loads(process.stdout.readline()) for _ in range(count)]


@pytest.mark.req("ANALYT-008")
def test_results_are_saved_to_another_stream_only(relay, tmp_path):
    source = relay.data_dir / "streams" / "events"
    sql = "select message_id, event_type from ses where event_type = 'Send'"
    relay.run("analyse", sql, "--stream", str(source), "--save", str(tmp_path / "sends"))
    files = list((tmp_path / "sends").glob("*/*/*/*/*.jsonl"))
    assert len(files) == 1
    saved = [json.loads(line) for line in files[0].read_text().splitlines()]
    assert saved
    assert saved == relay.rows("analyse", sql, "--stream", str(source))
    for directory in (source, source / "sub", source.parent):
        done = relay.run("analyse", sql, "--stream", str(source), "--save", str(directory), check=False)
        assert done.returncode == 64
        assert "another" in done.stderr
