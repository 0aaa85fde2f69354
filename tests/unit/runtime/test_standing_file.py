"""Standing holds on disk."""

import pytest

from relay.errors import ConfigurationError, LimitExceededError, NotFoundError, StorageError
from relay.runtime import standing_file
from relay.runtime.standing_file import add_hold, read_holds, remove_hold
from relay.schedule.selection import Selection
from relay.schedule.standing import StandingHold

ONE = StandingHold(0, Selection(domains=("one.test",)), 100, 1, "me", "why")


def test_numbers_only_grow_and_what_has_ended_is_forgotten(tmp_path):
    assert read_holds(tmp_path, 0) == []
    first, second = add_hold(tmp_path, ONE, 0), add_hold(tmp_path, ONE, 0)
    assert (first.number, second.number) == (1, 2)
    assert read_holds(tmp_path, 99) == [first, second]
    assert read_holds(tmp_path, 100) == []
    assert remove_hold(tmp_path, 2, 0) == second
    third = add_hold(tmp_path, ONE, 0)
    assert third.number == 3
    assert read_holds(tmp_path, 0) == [first, third]
    with pytest.raises(NotFoundError):
        remove_hold(tmp_path, 2, 0)
    assert (tmp_path / "holds.json").stat().st_mode & 0o777 == 0o600


def test_there_is_a_limit(tmp_path, monkeypatch):
    monkeypatch.setattr(standing_file, "STANDING_MAX", 1)
    add_hold(tmp_path, ONE, 0)
    with pytest.raises(LimitExceededError):
        add_hold(tmp_path, ONE, 0)
    add_hold(tmp_path, ONE, 100)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "1", '{"last": 1}', '{"last": "x", "holds": []}', '{"last":1,"holds":[7]}']
)
def test_a_damaged_file_is_an_error_that_names_it(tmp_path, text):
    (tmp_path / "holds.json").write_text(text)
    with pytest.raises(ConfigurationError, match=r"holds\.json"):
        read_holds(tmp_path, 0)


def test_a_file_that_cannot_be_written_changes_nothing(tmp_path):
    add_hold(tmp_path, ONE, 0)
    (tmp_path / "holds.json.new").mkdir()
    with pytest.raises(StorageError):
        add_hold(tmp_path, ONE, 0)
    assert len(read_holds(tmp_path, 0)) == 1
