"""How many connections hosts bear: from few up with deliveries, down to what is borne, one again after none."""

import pytest

from relay.model.outcome import Stage
from relay.pipeline.site_health import Health
from relay.pipeline.site_item import Target
from relay.schedule.shaping import Shape
from relay.smtp.client.answer import local_failure
from tests.unit.pipeline.test_site_queue import item_of

SHAPE = Shape(connections=20, connections_start=5)
ANSWER = local_failure(Stage.CONNECT, "4.4.1", "Cannot connect")


@pytest.mark.parametrize(("start", "most", "limit"), [(5, 20, 5), (5, 3, 3), (1, 1, 1)])
def test_it_begins_low(start, most, limit):
    assert Health(Shape(connections=most, connections_start=start)).limit == limit


def test_it_grows_with_deliveries_but_not_while_hosts_refuse():
    health = Health(SHAPE)
    assert health.grow(10.0)
    assert health.limit == 6
    health.refused_beside(4, until=70.0)
    assert health.limit == 4
    assert not health.grow(69.9)
    assert health.grow(70.0)
    assert health.limit == 5
    health.bound(Shape(connections=2))
    assert health.limit == 2


def test_a_dead_site_tells_why_for_a_moment_and_begins_at_one():
    health = Health(SHAPE)
    target = Target("mx.test", "192.0.2.1", 25)
    health.died(ANSWER, target, ((), ()), until=12.0)
    assert (health.limit, health.answer, health.target) == (1, ANSWER, target)
    assert health.dead(11.9)
    assert not health.dead(12.0)
    assert health.state(11.0)["dead_seconds"] == 1.0
    item = item_of(1)
    health.tell(item)
    assert (item.tries, item.skipped) == ((), ())
    health.forgive()
    assert (health.answer, health.dead(11.0)) == (None, False)


def test_a_connection_that_is_borne_revives_it():
    health = Health(SHAPE)
    health.died(ANSWER, None, ((), ()), until=12.0)
    health.revived()
    assert health.answer is None
    assert health.grow(5.0)
