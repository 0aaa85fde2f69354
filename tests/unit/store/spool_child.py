"""A process that fills a shard and dies: `python -m tests.unit.store.spool_child DATA_DIR POINT COUNT KIND`.

Prints the key of each message when it is answered for, and "settled KEY" for each verdict; at the COUNT-th time
the crash point POINT is reached, it kills itself. KIND: small or large bodies, four messages at a time, or one alone.
"""

import asyncio
import os
import signal
import sys
from pathlib import Path

from relay.model.content import BodyFile
from relay.store.spool import ShardSpool, SpoolOptions
from relay.testing.clock import ManualClock
from relay.testing.log import MemoryLog
from tests.unit.store.shard import new_message, verdict, written


async def work(data_dir: Path, point: str, count: int, kind: str) -> None:
    left = [count]

    def die(name: str) -> None:
        if name == point:
            left[0] -= 1
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    spool = ShardSpool.open(data_dir, 1, ManualClock(), MemoryLog(), SpoolOptions(crash_point=die))
    spool.start(asyncio.get_running_loop())

    async def one() -> None:
        body = b"x" * 5000
        if kind == "large":
            path = spool.paths.incoming / str(spool.next_key())
            path.write_bytes(b"y" * 300_000)
            new = new_message(spool, body=BodyFile(str(path), 0, 300_000))
        else:
            new = new_message(spool, body=body)
        assert await written(spool.append, new) is None
        os.write(1, b"accepted %d\n" % new.message.key)
        assert await written(spool.settle, verdict(new.deliveries[0])) is None
        os.write(1, b"settled %d\n" % new.message.key)

    while True:
        await asyncio.gather(*(one() for _ in range(1 if kind == "alone" else 4)))


def main():
    asyncio.run(work(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), sys.argv[4]))


if __name__ == "__main__":
    main()
