"""Asks each sampler again and again: `python -m benchmarks.parts.asking ASKS SIZE…` prints the figures of `asks`."""

import json
import random
import statistics
import sys
import time
from collections.abc import Sequence

from agents.search.samplers import portfolio
from agents.search.samplers.protocol import Trial, where
from agents.search.samplers.trial_log import TrialLog
from agents.search.strategy import Strategy
from benchmarks.parts.harness import Figures, say
from mesh.knobs import Knob

KINDS = (*portfolio.LEARNING, "step", "sobol")
SEARCH = "search"
KNOBS = [
    Knob(file="train.py", name=f"KNOB_{n}", value=n + 0.5, low=0.01, high=100.0, log=True, priority=n) for n in range(8)
]


def measure(asks: int, sizes: Sequence[int]) -> Figures:
    """Return CPU milliseconds per idea of each sampler, by the number of trials, and print a line for each number."""
    figures: Figures = {}
    trials, rng = TrialLog(), random.Random(1)
    for size in sizes:
        while len(trials) < size:
            trials.put(_trial(len(trials), rng))
        samplers, _ = portfolio.installed_samplers()
        kinds = [kind for kind in KINDS if kind in samplers]
        strategy = Strategy(samplers, [kind for kind in portfolio.LEARNING if kind in samplers])
        for kind in (*kinds, SEARCH):
            spent = []
            for number in range(asks + 1):
                pending = [_pending(len(trials) + n, rng) for n in range(32)]
                began = time.process_time()
                if kind == SEARCH:
                    strategy.ask(KNOBS, trials, pending, random.Random(number))
                else:
                    samplers[kind].ask(KNOBS, trials, pending, random.Random(number))
                spent.append((time.process_time() - began) * 1000)
                trials.put(_trial(len(trials), rng))
            figures[f"{kind}_ms.{size}"] = statistics.median(spent[1:])
            figures[f"p99_ms.{kind}"] = sorted(spent[1:])[int(0.99 * asks)]
            figures[f"first_ms.{kind}"] = spent[0]
        say(
            f"{size} trials: " + ", ".join(f"{kind} {figures[f'{kind}_ms.{size}']:.1f} ms" for kind in (*kinds, SEARCH))
        )
    return figures


def _trial(seq: int, rng: random.Random) -> Trial:
    values = {where(knob): knob.sample(rng) for knob in KNOBS}
    if rng.random() < 0.7:  # most ideas are near the best point
        values = {where(knob): knob.mutate(1.0, rng, 0.05) for knob in KNOBS}
    far = sum((knob.place(float(values[where(knob)])) - 0.5) ** 2 for knob in KNOBS)
    loss = None if rng.random() < 0.05 else far + rng.gauss(0, 0.01)
    return Trial(tree=f"{seq:040x}", seq=seq, values=values, loss=loss, by=_maker(seq, rng), seconds=1.0)


def _maker(seq: int, rng: random.Random) -> str:
    return ("sobol", "step")[seq % 2] if seq < 20 else rng.choice(portfolio.LEARNING)


def _pending(seq: int, rng: random.Random) -> Trial:
    values = {where(knob): knob.sample(rng) for knob in KNOBS}
    return Trial(tree=f"p{seq:039x}", seq=seq, values=values, loss=None, by=rng.choice(portfolio.LEARNING))


if __name__ == "__main__":
    print(json.dumps(measure(int(sys.argv[1]), [int(size) for size in sys.argv[2:]])))
