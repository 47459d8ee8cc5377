"""Two threads run one at a time, in turn."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

from engine.playground.turns import Runner, Turns


def test_threads_alternate_and_their_clocks_stand_still_meanwhile():
    turns, order = Turns(), []

    def run(name):
        with Runner(turns) as runner:
            begun = runner.clock()
            for _ in range(5):
                order.append(name)
                time.sleep(0.02)
                runner.let_others()
            return runner.clock() - begun

    turns.take()
    with ThreadPoolExecutor(2) as pool:
        running = [pool.submit(run, name) for name in "ab"]
        time.sleep(0.1)
        began = time.monotonic()
        turns.give()
        own = [side.result() for side in running]
    elapsed = time.monotonic() - began
    assert "".join(order) in {"ab" * 5, "ba" * 5}
    assert all(seconds >= 0.1 for seconds in own)
    assert sum(own) <= elapsed
