"""What a log shows: each sign with its evidence, how sure it is, and where to read on.

The rate is exact, so its signs are matters of shape. The loss is noisy, so its signs compare
medians with the spread of what is around them, in logarithms where it is positive; where there are
few rows they keep silent. A sign says what is seen. What caused it is a second question, and where
two causes leave one trace, both are named. The words are in `words.toml`.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from lrcourse.doctor.reading import WORDS, Log
from lrcourse.schedules import FloatArray as Array

__all__ = ["Sign", "diagnose"]

# Rates are the same where they differ by less than this share of the peak. A median distance times
# these is a standard deviation: from the median; from neighbours, whatever smooth way they go.
_SAME, _DEVIATION, _NEXT = 1e-6, 1.4826, 0.605


@dataclass(frozen=True)
class Sign:
    """One thing that a log shows.

    Attributes:
        name: one of `WORDS["signs"]`.
        at: the update where it is seen.
        facts: what its words are filled with.
    """

    name: str
    at: float
    facts: Mapping[str, Any]

    def __str__(self) -> str:
        says, shows, sure, read = WORDS["signs"][self.name].values()
        lines = f"{says}\n  at update {self.at:.9g}: {shows}\n  {sure}\n  see {read}"
        return lines.format(**self.facts)


def diagnose(log: Log, plan: Array | None = None, classes: int | None = None) -> list[Sign]:
    """All that a log shows, by the update where it shows.

    Where the rates are those of a plan, nothing is said of their shape.

    Args:
        log: what `read_log` or `gather` gives.
        plan: the planned rates, update by update from 0 on; its last one holds on. Where it is
            None, a column "planned" stands for it; without one there is only the shape to judge.
        classes: among how many the network chooses; None for any number up to 20.

    >>> from lrcourse.doctor.reading import gather
    >>> print(*diagnose(gather([{"lr": 0.1} for _ in range(9)])))
    The rate never moves.
      at update 0: 0.1 in all 9 rows
      sure; whether it is meant so, a log cannot say
      see docs/libraries.md#the-rate-does-not-move
    """
    at, skipped = log.series["skipped"]
    left = at[skipped > 0]
    made = ~np.isin(log.series["rate"][0], left)
    at, rate = (values[made] for values in log.series["rate"])
    own, places = log.series["planned"][1], [at.astype(int) + k for k in (0, -1, 1)]
    if plan is not None:  # a warmup may begin with a step, (t + 1) / warmup, and not with 0
        places += [place + (place < plan.argmax()) for place in places]
    elif len(own) == len(made):
        plan, places = own[made], [np.arange(len(at))]
    signs = [] if plan is None else [*_off(at, rate, plan, places, made)]
    if len(rate) > 7 and (signs or plan is None):
        signs += _shape(at, rate, log)
    signs += [Sign("back", b, {"before": a, "after": b}) for a, b in log.back]
    signs += [Sign("skipped", t, {"count": len(left), "rows": len(skipped)}) for t in left[:1]]
    return sorted([*signs, *_loss(log, classes), *_validation(log)], key=lambda sign: sign.at)


# -------------------------------------------------------------------------------------- the rate


def _off(at: Array, rate: Array, plan: Array, places: list[Any], made: Any) -> Iterator[Sign]:
    """The first update that is off the plan, and what the rates are instead."""
    # A log may count updates from 1, or be written after the scheduler: what fits longest counts.
    peak, near = plan.max(), 1e-6 * plan.max() + _grain(rate)
    wanted = [(place, plan[np.clip(place, 0, len(plan) - 1)]) for place in places]
    fits = [np.append(np.isclose(rate, right, 1e-4, near), False).argmin() for _, right in wanted]
    i, (place, right) = max(fits), wanted[int(np.argmax(fits))]
    if i == len(rate):
        return

    def same(a: Array, b: Array) -> bool:  # a few first: most are told apart by them
        return len(a) > 7 and all(np.allclose(a[:k], b[:k], 1e-3, near) for k in (8, None))

    factor = np.median(rate[i:] / np.maximum(right[i:], 1e-9 * peak))
    how = f", but {factor:.3g} times as high" if same(rate[i:], factor * right[i:]) else ""
    ahead = [(1, k) for k in range(2, min(len(plan) // 2, 10_000))]
    for calls, k in [(0, 0), *ahead, *((n, k) for n in range(2, 65) for k in range(n + 1))]:
        there = calls * place + k if calls else np.flatnonzero(made)
        theirs = plan[there[there < len(plan)]]
        if not how and same(rate[there < len(plan)], theirs) and np.ptp(theirs) > 0.05 * peak:
            slips = ", as it counts what made no update", f", but {k} updates ahead of it"
            how = [*slips, f": {calls} calls for each update"][min(calls, 2)]
    yield Sign("plan", at[i], {"how": how, "rate": rate[i], "planned": right[i]})


def _grain(rate: Array) -> float:
    """Half a unit of the last digit, where rates were printed with few digits; else 0."""
    exact = [d for d in range(1, 9) if np.allclose(rate, rate.round(d), 0, 1e-13)]
    return 0.51 * 10.0 ** -exact[0] if exact and len({*rate}) > 4 else 0.0


def _shape(at: Array, rate: Array, log: Log) -> Iterator[Sign]:
    """What the curve of the rate shows by itself."""
    n, peak = len(rate), max(rate) or 1.0
    r = rate / peak
    top = int(np.argmax(r > max(r) - _SAME))
    if at[0] <= 1 and r[0] == 0 < r[1]:
        yield Sign("first", at[0], {"rate": rate[1]})
    if min(r[top:]) > max(r) - _SAME and n - top > max(7, n // 2):
        yield Sign("stays" if top else "constant", at[top], {"rate": rate[-1], "rows": n - top})
        return
    low = np.flatnonzero(r >= 1e-4)[-1] + 1
    if n - low >= max(8, n / 10):
        yield Sign("spent", at[low], {"share": r[low], "times": at[-1] / max(at[low], 1)})
        return
    change = np.abs(np.diff(r))
    moves = 1 + np.flatnonzero(change > _SAME)
    # By a two-hundredth of the fall, if not at once: that is a warm restart.
    t, y = at[[0, *moves]], r[[0, *moves]]
    turns = 1 + np.flatnonzero(np.diff(np.append((steps := np.diff(y)) > 0, False)))
    ways = [(a, b, y[b] - y[a]) for a, b in pairwise(turns) if a > 2 and y[a] < 0.5]
    climbs = [(a, b) for a, b, up in ways if up > max((1 - y[a]) / 200, 2 * max(steps[a:b]))]
    for a, b in climbs[:1]:
        facts = {"low": peak * y[a], "high": peak * y[b], "longer": at[-1] / t[a]}
        facts |= {"times": f"{len(climbs)} times" if len(climbs) > 1 else "once"}
        yield Sign("returns", t[a], facts)
    if not climbs:
        yield from _short(at, r)
    yield from _leaps(at, rate, peak, log)
    gaps = np.diff(at[moves])
    even = len(gaps) > 2 and np.diff(moves).min() > 1 and np.ptp(gaps) <= 1.01 * max(np.diff(at))
    if even and peak * change.max() > 3 * _grain(rate):
        epochs, epoch = log.series["epoch"]
        begins = epochs[1:][np.diff(np.floor(epoch)) > 0]
        name = "epochs" if np.isin(at[moves], begins).all() else "stairs"
        yield Sign(name, at[moves[0]], {"gap": np.median(gaps), "times": len(moves)})
    elif np.ptp(r) < 0.05:
        yield Sign("creeps", at[moves[0]], {"low": min(rate), "high": max(rate)})


def _leaps(at: Array, rate: Array, peak: float, log: Log) -> Iterator[Sign]:
    """Where a rate that moves smoothly on both sides makes a leap."""
    change = np.diff(rate) / peak
    speed = np.abs(change) / np.diff(at)
    for i in np.flatnonzero(np.abs(change[2:-2]) > 0.04) + 2:
        notch = abs(change[i] + change[i + 1]) < 0.05 * abs(change[i]) and abs(change[i - 1]) < 0.01
        around = speed[[i - 2, i - 1, i + 1, i + 2]]
        leap = speed[i] > 5 * around.max() and min(around[1:3]) > 1e-9
        again = at[i + 1] in [after for _, after in log.back]
        name = "resumed" if again else "seam" if change[i - 1] > 0 else "resume"
        if notch or (leap and (name != "resume" or change[i] < 0)):  # else a warm restart
            yield Sign("notch" if notch else name, at[i + 1], {"old": rate[i], "new": rate[i + 1]})


def _short(at: Array, r: Array) -> Iterator[Sign]:
    """A straight line or a cosine to zero that the log does not follow to its end."""
    begin = int(np.flatnonzero(np.append(True, np.abs(np.diff(r)) > 0.1) | (r > 1 - _SAME))[-1])
    t, y = at[begin:], r[begin:]
    if len(t) < 8 or not 0.15 < y[-1] < y[0] - 0.05:
        return
    fallen = np.clip(1 - y / y[0], 0, 1)
    way = np.arccos(1 - 2 * fallen) / np.pi  # of half a cosine; near its top it hardly moves
    kinds = ("straight line", fallen, y**0), ("cosine", way, np.sin(np.pi * way))
    for kind, done, counts in kinds:
        slope, base = np.polyfit(t, done, 1, w=counts + 1e-3)
        if np.abs(counts * (base + slope * t - done)).max() < 2e-3:
            yield Sign("short", t[-1], {"shape": kind, "share": y[-1], "end": (1 - base) / slope})


# -------------------------------------------------------------------------------------- the loss


def _loss(log: Log, classes: int | None) -> Iterator[Sign]:
    """What losses and gradients show."""
    (at, loss), (norms_at, norms) = log.series["loss"], log.series["gradient"]
    rates_at, sound = log.series["rate"][0], np.isfinite(norms)
    more = (rates_at > max(at, default=np.inf)).sum()
    if more > max(9, 3 * len(rates_at) / max(len(at), 1)):
        yield Sign("silent", at[-1], {"rows": more, "loss": loss[-1]})
    for i in np.flatnonzero(~np.isfinite(loss))[:1]:
        yield Sign("lost", at[i], {"loss": loss[i]})
        at, loss = at[:i], loss[:i]
    if not sound.all() and "skipped" not in log.names:
        yield Sign("gradient", norms_at[~sound][0], {"norm": norms[~sound][0]})
    if (n := len(loss)) < 30:
        return
    x, back = (np.log(loss), np.exp) if loss.min() > 0 else (loss, np.positive)
    w = int(np.clip(n // 10, 10, 50))  # rows that make a level
    windows = sliding_window_view(x, w)[:-1]  # the rows before each row
    base = np.median(windows, 1)
    spread = _DEVIATION * np.median(np.abs(windows - base[:, None]), 1)
    calm = np.median(spread) + 1e-9
    levels = np.array([np.median(part) for part in np.array_split(x, min(20, n // 10))])
    jitter, lowest = _NEXT * np.median(np.abs(np.diff(levels, 2))), int(np.argmin(levels))
    start, end = min(x[0], np.median(x[:5])), np.median(x[-w:])
    fall = 1.0 if back is np.exp else max(0.6 * (start - levels[lowest]), 0)

    def far(times: float, spreads: float) -> float:
        """So many times the loss (or a share of its fall), and so many spreads."""
        return max(fall * np.log(times), spreads * calm)

    facts = {"first": loss[0], "last": back(end)}
    excess = (x[w:] - base) * (x[w:] - base > far(1.5, 8)) / np.maximum(spread, calm / 2)
    # Alone, a row must stand out more: it may be no more than an odd minibatch.
    odd = w + np.flatnonzero(excess > 16 - 8 * (np.convolve(excess > 5, np.ones(5), "same") > 1))
    middle = np.median(sliding_window_view(x, 5), 1)
    high = np.append(np.flatnonzero(middle > start + far(3, 6)), n)[0]
    if len(odd) and odd[0] - w < high:
        starts = odd[np.diff(odd, prepend=-n) > w]
        lasts = [i for i in starts if n - i > w and np.median(x[i:]) > base[i - w] + far(1.5, 4)]
        i = lasts[0] if lasts else max(starts, key=lambda i: x[i] - base[i - w])
        near = [v / np.median(norms[sound]) for v in norms[np.abs(norms_at - at[i]) <= 1]]
        norm = f"; the gradient is {max(near):.3g} times the usual one" if near else ""
        facts |= {"loss": loss[i], "before": back(base[i - w]), "norm": norm, "times": len(starts)}
        yield Sign("lasting" if lasts else "spike", at[i], facts)
        high = min(high, *lasts, n)
    elif high < n:
        yield Sign("high", at[high], facts | {"loss": loss[high : high + 5].max()})
    elif end > start + far(1.1, 4):
        yield Sign("above", at[-1], facts)
        high = 0  # that says enough
    first, low, late = np.median(loss[:5]), back(levels[lowest]), levels[-2:].min()
    share = (back(late) - low) / max(first - low, 1e-12)
    if high == n and share > 0.2 and late - levels[lowest] > 6 * jitter:
        yield Sign("rises", at[lowest * n // len(levels)], facts | {"lowest": low, "share": share})
    guess = np.log(classes or min(range(2, 21), key=lambda k: abs(np.log(k) - first)))
    there = abs(first / guess - 1) < 0.05 and 0.8 * guess < low and back(end) < 1.1 * guess
    stays = 0.95 * max(first, loss[0]) < back(np.median(x[n // 2 :])) < 1.1 * guess
    if n > 49 and there and stays and jitter < 0.04 and loss is log.series["loss"][1]:  # not lost
        yield Sign("flat", at[-1], facts | {"classes": round(np.exp(guess)), "guess": guess})


def _validation(log: Log) -> Iterator[Sign]:
    """A validation loss that rises after its lowest value."""
    at, loss = log.series["validation"]
    if len(loss) < 8 or not np.isfinite(loss).all():
        return
    level = np.median(sliding_window_view(loss, 3), 1)
    i, low, last = int(np.argmin(level)) + 1, level.min(), np.median(loss[-3:])
    jitter = _NEXT * np.median(np.abs(np.diff(loss, 2)))
    if len(loss) - i > 3 and last - low > max(5 * jitter, 0.02 * (loss[0] - low)):
        yield Sign("turns", at[i], {"lowest": low, "last": last})
