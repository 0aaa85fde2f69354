"""JSON text of strangers has one meaning, and costs no more than its size."""

import time

from relay.policy.jsontext import read_json


def test_a_name_that_occurs_twice_is_found_in_a_moment():
    names = [f"{number:x}" for number in range(28_000)]
    text = "{" + ",".join(f'"{name}":1' for name in [*names, names[-1]]) + "}"
    begin = time.process_time()
    assert read_json(text, 262_144) == f'The name "{names[-1]}" occurs twice in one object.'
    assert time.process_time() - begin < 10  # comparing each with each takes a minute
