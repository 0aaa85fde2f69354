"""Who gets a connection when there are few: accounts in turn, and sites that have none."""

from collections import Counter

import pytest

from relay.pipeline.connections import Connections
from relay.schedule.fair import Flow

A, B = Flow("a"), Flow("b")


class Site:
    """Opens a connection whenever it may and has something to do."""

    def __init__(self, connections, flow=A, wanted=1):
        self.connections, self.flow, self.wanted = connections, flow, wanted
        self.open = 0

    def pump(self):
        while self.wanted:
            if not self.connections.admits(self, self.flow):
                self.connections.line_up(self, self.flow)
                return
            self.connections.opened(self, self.flow)
            self.wanted -= 1
            self.open += 1

    def close(self):
        self.open -= 1
        self.connections.closed(self)
        self.connections.feed()


@pytest.mark.parametrize("most", [1, 2, 3, 20, 500])
def test_never_more_than_there_are_and_none_is_forgotten(most):
    connections = Connections(most)
    sites = [Site(connections, A if number % 2 else B, wanted=1 + number % 3) for number in range(2 * most)]
    for site in sites:
        site.pump()
    for _ in range(20_000):
        assert connections.open == sum(site.open for site in sites) <= most
        busy = next((site for site in sites if site.open), None)
        if busy is None:
            break
        sites.append(sites.pop(sites.index(busy)))
        busy.close()
    assert not any(site.wanted for site in sites)
    assert (connections.open, connections.crowded) == (0, False)


def test_accounts_take_turns_whatever_number_of_sites_wait():
    connections = Connections(4)
    first = [Site(connections) for _ in range(4)]
    for site in first:
        site.pump()
    waiting = [Site(connections) for _ in range(100)] + [Site(connections, B) for _ in range(3)]
    for site in waiting:
        site.pump()
    order = []
    queue = [site for site in first if site.open]
    while len(order) < 8:
        queue.pop(0).close()
        opened = [site for site in [*first, *waiting] if site.open and site not in queue]
        order += [site.flow.account for site in opened]
        queue += opened
    assert Counter(order[:6])["b"] == 3


def test_busy_sites_leave_a_quarter_to_those_that_have_none():
    connections = Connections(100)
    tarpits = [Site(connections, Flow(str(number)), wanted=20) for number in range(20)]
    for site in tarpits:
        site.pump()
    assert connections.open <= 100 - 10
    newcomer = Site(connections, Flow("new"), wanted=5)
    newcomer.pump()
    connections.feed()
    assert newcomer.open >= 1


def test_one_account_leaves_connections_to_others():
    connections = Connections(80)
    for _ in range(200):
        Site(connections).pump()
    assert connections.open == 70
    other = Site(connections, B)
    other.pump()
    connections.feed()
    assert other.open == 1


def test_a_site_lines_up_once_for_each_account():
    connections = Connections(1)
    holder = Site(connections)
    holder.pump()
    site = Site(connections)
    assert connections.line_up(site, A)
    assert not connections.line_up(site, A)
    assert connections.line_up(site, B)
    assert connections.crowded
    holder.close()
    assert connections.open == 1
    site.close()
    assert not connections.crowded
