"""What a stopped relay's files say of its events, compared with each other: every event took effect exactly once.

The event file is published at least once, so that a line may be there twice; two events never have equal lines.
"""

import json
import sqlite3
from collections import Counter
from contextlib import closing

from relay.policy.stays import STAYS_DAYS
from relay.runtime.settings import master_key
from relay.store.event_blocks import decoded
from relay.store.suppression_relay_list import Digester

KINDS = {"Send": "sends", "Delivery": "deliveries", "DeliveryDelay": "delays"}
BOUNCES = {"Permanent": "hard_bounces", "Transient": "soft_bounces", "Undetermined": "soft_bounces"}


def checked(product, bounced, listed=None, *, streams=(), queues=()):
    """Return how many events there were by kind, after every file was found to agree; `product` is stopped.

    `bounced` maps each address that was refused for good to the number of its bounces; `listed` are those on the
    account's list, by default all. `streams` and `queues` name what gets every event of a configuration set.
    """
    lines = Counter(_lines(product.data_dir.glob("events.jsonl*")))
    events = [json.loads(line) for line in lines]
    counts = Counter(event["eventType"] for event in events)
    assert set(counts) <= {*KINDS, "Bounce"}, counts
    assert _archived(product.data_dir) == set(lines), "archive"
    assert _metrics(product.data_dir) == counts, f"metrics: {_metrics(product.data_dir)}, not {counts}"
    counted = Counter(KINDS.get(event["eventType"]) or BOUNCES[event["bounce"]["bounceType"]] for event in events)
    assert _statistics(product.data_dir) == counted, f"statistics: {_statistics(product.data_dir)}, not {counted}"
    assert _listed(product) == set(bounced if listed is None else listed), "suppression"
    digest = Digester(master_key(product.data_dir)).digest
    steps = {digest(address): min(count, len(STAYS_DAYS)) - 1 for address, count in dict(bounced).items()}
    assert _steps(product) == steps, "relay-wide list"
    assert not missing(product, streams, queues), missing(product, streams, queues)
    return dict(counts)


def unfinished(product):
    """Return the messages of which the event file has a beginning and no end yet."""
    events = [json.loads(line) for line in lines_of(product)]
    begun = {event["mail"]["messageId"] for event in events if event["eventType"] == "Send"}
    return begun - {event["mail"]["messageId"] for event in events if event["eventType"] in {"Delivery", "Bounce"}}


def missing(product, streams=(), queues=()):
    """Return how many events with a configuration set each destination lacks, and how many it invented, if any."""
    wanted = {line for line in map(_plain, lines_of(product)) if '"ses:configuration-set"' in line}
    files = {name: (product.data_dir / "streams" / name).glob("**/*.jsonl*") for name in streams}
    files |= {name: (product.data_dir / "queues").glob(f"*/{name}.jsonl*") for name in queues}
    found = {name: set(map(_plain, _lines(paths))) for name, paths in files.items()}
    return {name: (len(wanted - some), len(some - wanted)) for name, some in found.items() if some != wanted}


def lines_of(product):
    """Return the distinct lines of the event file."""
    return set(_lines(product.data_dir.glob("events.jsonl*")))


def _lines(paths):
    """Return all whole lines; the last of a file may be half written."""
    return [line for path in paths for line in path.read_bytes().split(b"\n")[:-1]]


def _plain(line):
    return json.dumps(json.loads(line), sort_keys=True)


def _rows(path, query):
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        return connection.execute(query).fetchall()


def _archived(data_dir):
    ids, records = [], []
    for path in (data_dir / "events" / "archive").glob("*.db"):
        for (data,) in _rows(path, "SELECT data FROM block"):
            for archived in decoded(data):
                ids.append((archived.event.shard, archived.event.event_id))
                records.append(archived.event.payload)
    twice = [one for one, count in Counter(ids).items() if count > 1]
    assert not twice, f"archived twice: {twice[:5]}"
    return set(records)


def _metrics(data_dir):
    query = "SELECT kind, sum(count) FROM series WHERE configuration_set = '' GROUP BY kind"
    return dict(_rows(data_dir / "events" / "metrics.db", query))


def _statistics(data_dir):
    names = list(dict.fromkeys((*KINDS.values(), *BOUNCES.values())))
    query = f"SELECT {', '.join(f'sum({name})' for name in names)} FROM point WHERE dimension = 'account'"
    (row,) = _rows(data_dir / "events" / "statistics.db", query)
    return {name: count for name, count in zip(names, row, strict=True) if count}


def _listed(product):
    return {row[0] for row in _rows(product.data_dir / "suppression.db", "SELECT folded FROM suppression")}


def _steps(product):
    return dict(_rows(product.data_dir / "suppression.db", "SELECT digest, step FROM relay_list"))
