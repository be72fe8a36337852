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
      see docs/libraries.md#messages-and-symptoms-as-they-appear
    """
    at, skipped = log.series["skipped"]
    left_out = at[skipped > 0]
    made = ~np.isin(log.series["rate"][0], left_out)
    at, rate = (values[made] for values in log.series["rate"])
    own, place, shifts = log.series["planned"][1], at.astype(int), [0, -1, 1]
    if plan is None and len(own) == len(made):
        plan, place, shifts = own[made], np.arange(len(at)), [0]
    signs = [] if plan is None else [*_off(at, rate, plan, [place + k for k in shifts], made)]
    if signs or plan is None:
        signs += _shape(at, rate, log)
    signs += [Sign("back", b, {"before": a, "after": b}) for a, b in log.back]
    counts = {"count": len(left_out), "rows": len(skipped)}
    signs += [Sign("skipped", first, counts) for first in left_out[:1]]
    return sorted([*signs, *_loss(log, classes), *_validation(log)], key=lambda sign: sign.at)


# -------------------------------------------------------------------------------------- the rate


def _off(at: Array, rate: Array, plan: Array, places: list[Any], made: Any) -> Iterator[Sign]:
    """The first update that is off the plan, and what the rates are instead."""
    # A log may count updates from 1, or be written after the scheduler: what fits longest counts.
    peak, near = plan.max(), 1e-6 * plan.max() + _grain(rate)
    wanted = [plan[np.clip(place, 0, len(plan) - 1)] for place in places]
    fits = [np.append(np.isclose(rate, right, 1e-4, near), False) for right in wanted]
    each = zip(map(np.argmin, fits), places, wanted, strict=True)
    i, place, right = max(each, key=lambda found: found[0])
    if i == len(rate):
        return

    def same(a: Array, b: Array) -> bool:  # a few first: most are told apart by them
        few = len(a) > 7 and np.allclose(a[:8], b[:8], 1e-3, near)
        return few and np.allclose(a, b, 1e-3, near)

    factor = np.median(rate[i:] / np.maximum(right[i:], 1e-9 * peak))
    how = f", but {factor:.3g} times as high" if same(rate[i:], factor * right[i:]) else ""
    ahead = [(1, k) for k in range(2, min(len(plan) // 2, 10_000))]
    for calls, k in [(0, 0), *ahead, *((n, k) for n in range(2, 65) for k in range(n + 1))]:
        there = calls * place + k if calls else np.flatnonzero(made)
        theirs = plan[there[there < len(plan)]]
        if not how and same(rate[there < len(plan)], theirs) and np.ptp(theirs) > 0.05 * peak:
            slips = ", as it counts what made no update", f", but {k} updates ahead of it"
            how = slips[calls] if calls < 2 else f": {calls} calls for each update"
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
    if n < 8:
        return
    if at[0] <= 1 and r[0] == 0 < r[1]:
        yield Sign("first", at[0], {"rate": rate[1]})
    if min(r[top:]) > max(r) - _SAME and n - top > max(7, n // 2):
        yield Sign("stays" if top else "constant", at[top], {"rate": rate[-1], "rows": n - top})
        return
    low = np.flatnonzero(r >= 1e-4)[-1] + 1
    if n - low >= max(8, n / 10):
        yield Sign("spent", at[low], {"share": r[low], "times": at[-1] / max(at[low], 1)})
        return
    # From almost nothing to over half of the peak, not at once as in a warm restart.
    high = np.flatnonzero(r > 0.5)
    lows = [(a + int(np.argmin(r[a:b])), b) for a, b in pairwise(high)]
    bottoms = [at[i] for i, b in lows if r[i] < 0.02 and max(np.diff(r[i : b + 1])) < 0.3]
    facts = {"times": len(bottoms), "longer": at[-1] / min(bottoms, default=1)}
    yield from [Sign("returns", low, facts) for low in bottoms[:1]] or _short(at, r)
    yield from _leaps(at, rate, peak, log)
    change = np.abs(np.diff(rate))
    moves = 1 + np.flatnonzero(change > _SAME * peak)
    gaps = np.diff(at[moves])
    even = len(gaps) > 2 and np.diff(moves).min() > 1 and np.ptp(gaps) <= 1.01 * max(np.diff(at))
    if even and change.max() > 3 * _grain(rate):
        epochs, epoch = log.series["epoch"]
        begins = epochs[1:][np.diff(np.floor(epoch)) > 0]
        name = "epochs" if np.isin(at[moves], begins).all() else "stairs"
        yield Sign(name, at[moves[0]], {"gap": np.median(gaps), "times": len(moves)})


def _leaps(at: Array, rate: Array, peak: float, log: Log) -> Iterator[Sign]:
    """Where a rate that moves smoothly on both sides makes a leap."""
    change = np.diff(rate) / peak
    speed = np.abs(change) / np.diff(at)
    for i in np.flatnonzero(np.abs(change[2:-2]) > 0.04) + 2:
        facts = {"old": rate[i], "new": rate[i + 1]}
        sides = [i - 2, i - 1, i + 1, i + 2]
        if abs(rate[i + 2] - rate[i]) < 0.05 * peak * abs(change[i]) and abs(change[i - 1]) < 0.01:
            yield Sign("notch", at[i + 1], facts)
        elif speed[i] > 5 * speed[sides].max() and min(speed[sides[1:3]]) > 1e-9:
            if at[i + 1] in [after for _, after in log.back]:
                yield Sign("resumed", at[i + 1], facts)
            elif change[i - 1] > 0 or change[i] < 0:  # else a warm restart
                yield Sign("seam" if change[i - 1] > 0 else "resume", at[i + 1], facts)


def _short(at: Array, r: Array) -> Iterator[Sign]:
    """A straight line or a cosine to zero that the log does not follow to its end."""
    begin = int(np.flatnonzero(np.append(True, np.abs(np.diff(r)) > 0.1) | (r > 1 - _SAME))[-1])
    t, y = at[begin:], r[begin:]
    if len(t) < 8 or not 0.15 < y[-1] < y[0] - 0.05:
        return
    angle = np.arccos(np.clip(2 * y / y[0] - 1, -1, 1))
    for kind, values, zero in (("straight line", y, 0.0), ("cosine", angle, np.pi)):
        # Near its top a cosine hardly moves, so there its angle is not well known.
        slope, base = np.polyfit(t, values, 1, w=np.sin(angle) + 1e-3 if zero else None)
        fit = base + slope * t
        if np.abs((y[0] * (1 + np.cos(fit)) / 2 if zero else fit) - y).max() < 3e-3:
            yield Sign(
                "short", t[-1], {"shape": kind, "share": y[-1], "end": (zero - base) / slope}
            )
            return


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
    usual = np.median(norms[sound]) if sound.any() else 1.0
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
    alone = np.convolve(excess > 5, np.ones(5), "same") < 2
    odd = w + np.flatnonzero(excess > np.where(alone, 16, 8))
    middle = np.median(sliding_window_view(x, 5), 1)
    high = np.append(np.flatnonzero(middle > start + far(3, 6)), n)[0]
    if len(odd) and odd[0] - w < high:
        starts = odd[np.diff(odd, prepend=-n) > w]
        lasts = [i for i in starts if n - i > w and np.median(x[i:]) > base[i - w] + far(1.5, 4)]
        i = lasts[0] if lasts else max(starts, key=lambda i: x[i] - base[i - w])
        near = max(norms[np.abs(norms_at - at[i]) <= 1], default=0) / usual
        norm = f"; the gradient is {near:.3g} times the usual one" if near else ""
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
    classes = classes or min(range(2, 21), key=lambda k: abs(np.log(k) - first))
    near = abs(first / np.log(classes) - 1) < 0.05 and jitter < 0.04
    if n > 49 and near and back(np.median(x[n // 2 :])) > 0.95 * max(first, loss[0]):
        yield Sign("flat", at[-1], facts | {"classes": classes, "guess": np.log(classes)})


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
