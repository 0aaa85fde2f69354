"""The line between supervisor and child: whole packets, descriptors, and no waiting."""

import os

import pytest

from relay.runtime.control import DESCRIPTORS_MAX, Channel, from_memory_file, to_memory_file


@pytest.fixture
def line():
    one, other = Channel.pair()
    yield one, other
    one.close()
    other.close()


def test_packets_stay_whole_and_carry_descriptors(line):
    one, other = line
    reading, writing = os.pipe()
    assert one.send({"op": "first"}, [writing])
    assert one.send({"op": "second"})
    message, (received,) = other.receive()
    assert message == {"op": "first"}
    assert other.receive() == ({"op": "second"}, [])
    assert not os.get_inheritable(received)
    os.write(received, b"x")
    assert os.read(reading, 1) == b"x"
    for descriptor in (reading, writing, received):
        os.close(descriptor)
    with pytest.raises(BlockingIOError):
        other.receive()


def test_the_most_descriptors_arrive(line):
    one, other = line
    descriptors = [os.open("/dev/null", os.O_RDONLY) for _ in range(DESCRIPTORS_MAX)]
    assert one.send({}, descriptors)
    _message, received = other.receive()
    assert len(received) == DESCRIPTORS_MAX
    for descriptor in (*descriptors, *received):
        os.close(descriptor)


def test_a_peer_that_is_gone_or_does_not_read_is_noticed(line):
    one, other = line
    sent = 0
    while one.send({"op": "ping"}):  # never waits
        sent += 1
        assert sent < 1_000_000
    one.close()
    for _ in range(sent):
        assert other.receive() is not None
    assert other.receive() is None
    assert not other.send({})


def test_a_value_travels_as_a_memory_file():
    value = {"text": "x" * 1_000_000}
    assert from_memory_file(to_memory_file(value)) == value
