"""Warm-up of managed pools on the whole product: levels by provider, in the file, and what has no room."""

import itertools
import sqlite3
import time
from contextlib import closing

import pytest

from tests.product import Product, Receiver, eventually

MANAGED, SHARED = "127.0.63.1", "127.0.63.2"
VOLUMES = [2 * level for level in range(1, 11)]
NUMBERS = itertools.count()


@pytest.fixture(scope="module")
def receiver():
    with Receiver() as made:
        yield made


@pytest.fixture(scope="module")
def product(receiver):
    warmup = {
        "schedule": "ten",
        "schedules": [{"name": "ten", "volumes": VOLUMES}],
        "shares": [{"provider": "other", "share": "100%"}],
    }
    with Product(receiver.port, workers=2, warmup=warmup, delivery={"retry": ["1s"]}) as made:
        made.run("address", "add", SHARED)
        made.run("address", "add", MANAGED, "--reserve", "--warmup", "auto")
        made.run("pool", "create", "bulk", "--managed")
        made.run("configuration-set", "create", "bulk", "--pool", "bulk")
        yield made


def today():
    return int(time.time()) // 86_400


def in_the_file(product, *, level, day, used=()):
    """Restart the relay with another past: a level of a day, and what left on days since."""
    product.stop()
    with closing(sqlite3.connect(product.data_dir / "permits" / "permits.db")) as file:
        file.execute("UPDATE warmup_level SET level = ?, day = ? WHERE address = ?", (level, day, MANAGED))
        assert file.total_changes == 1
        file.execute("DELETE FROM volume")
        rows = [(on, MANAGED, "other", count) for on, count in used]
        file.executemany("INSERT INTO volume (day, address, grp, used) VALUES (?, ?, ?, ?)", rows)
        file.commit()
    product.start()


def shown(product):
    return product.json("warmup", "show", MANAGED)["providers"][0]


def send(product):
    to = f"u{next(NUMBERS)}@remote.example"
    return to, product.send(to, headers="X-SES-CONFIGURATION-SET: bulk\r\n")


def came_from(receiver, to):
    return eventually(lambda: [address for address, _, one in list(receiver.arrivals) if one == to], what=to)[0]


@pytest.mark.req("POOL-014", "POOL-015", "WARM-008")
def test_levels_follow_the_volume_and_what_has_no_room_leaves_elsewhere_early_and_waits_late(product, receiver):
    begun = today()
    sources = [came_from(receiver, send(product)[0]) for _ in range(4)]
    assert sources[0] == MANAGED
    assert SHARED in sources
    whole = product.json("warmup", "show", MANAGED)
    assert (whole["status"], whole["percentage"]) == ("NOT_APPLICABLE", -1)
    row = whole["providers"][0]
    assert (row["level"], row["volume"]) == (1, 2)
    assert 1 <= row["used"] <= 2

    in_the_file(product, level=8, day=begun - 1, used=[(begun - 1, 8)])  # half of its 16: a day on
    eventually(lambda: shown(product)["level"] in {8, 9}, what="a level that rises")
    if today() == begun:
        eventually(lambda: shown(product)["level"] == 9, what="a level that rises")
        metric = f'relay_managed_warmup_level{{provider="other",source="{MANAGED}"}}'
        eventually(lambda: product.metric(metric) == 9, what="the metric")

    in_the_file(product, level=8, day=begun - 2, used=[(begun - 12, 16)])  # nobody sent for a week
    eventually(lambda: shown(product)["level"] < 8, what="a level that falls")
    if today() == begun:
        eventually(lambda: shown(product)["level"] == 6, what="a level that falls")

    full = [(begun, 16), (begun + 1, 99)]
    in_the_file(product, level=8, day=begun + 1, used=full)  # no room left, in the second half of the schedule
    to, message_id = send(product)

    def told():
        delays = product.events("DeliveryDelay")
        return [one for one in delays if one["mail"]["messageId"] == message_id]

    delay = eventually(told, what="the event")[0]["deliveryDelay"]
    assert delay["delayType"] == "SendingDeferral"
    assert product.json("trace", message_id)["deliveries"][0]["state"] == "queued"
    assert not product.json("trace", message_id)["deliveries"][0]["attempts"]
    assert not [one for _, _, one in receiver.arrivals if one == to]

    in_the_file(product, level=3, day=begun + 1, used=full)  # the same in its first half
    assert came_from(receiver, send(product)[0]) == SHARED
