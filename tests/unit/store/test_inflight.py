"""The map of what is in flight."""

import pytest

from relay.store.inflight import SLOTS_MAX, InFlight


def test_what_is_noted_is_found_by_the_next_owner(tmp_path):
    first = InFlight(tmp_path / "inflight")
    first.note(0, 5)
    first.note(1, 1 << 62)
    first.note(2, 5)
    first.note(3, 9)
    first.note(3, 0)
    first.note(SLOTS_MAX, 7)
    first.note(-1, 7)
    second = InFlight(tmp_path / "inflight")
    assert second.keys() == [5, 1 << 62]
    second.clear()
    assert first.keys() == []
    first.close()
    second.close()


@pytest.mark.parametrize("content", [b"", b"short", bytes(SLOTS_MAX * 8 + 100)])
def test_a_map_of_another_size_is_made_to_fit(tmp_path, content):
    path = tmp_path / "inflight"
    path.write_bytes(content)
    slots = InFlight(path)
    slots.note(SLOTS_MAX - 1, 3)
    assert 3 in set(slots.keys())
    slots.close()
