"""The questions that the course has recorded an answer to, each declared before it was run.

The margin is half a per cent of the test loss, unless an experiment says otherwise: about what
these models gain from training a tenth longer, and what Hägele et al. (2024) call a match.
"""

import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from torch.optim import SGD, Adam, Muon, RMSprop

from lrcourse.arguments import Count
from lrcourse.experiments.declared import AsItComes, Contrast, Experiment, Listener, Part, Scale
from lrcourse.experiments.finetuning import MODEL, PRETRAINED_AT
from lrcourse.models import GPT
from lrcourse.schedules import (
    PLANS,
    Constant,
    Cosine,
    CosineRestarts,
    Cyclic,
    Exponential,
    InverseTime,
    Linear,
    MultiStep,
    OneCycle,
    OneMinusSqrt,
    Schedule,
    Warmup,
    plan,
    wsd,
)  # fmt: skip

__all__ = ["EXPERIMENTS"]

_Parts = Callable[[Scale], Mapping[str, Part]]
_Contrasts = Callable[[Mapping[str, Part]], list[Contrast]]


def _gpt(
    scale: Scale, plans: Mapping[str, Any], steps: int | None = None, batch: int | None = None,
    model: Mapping[str, Any] | None = None, **options: Any,
) -> Part:  # fmt: skip
    """A part of Transformers: AdamW as language models are trained with it (Brown et al., 2020)."""
    told: dict[str, Any] = {"peaks": scale.peaks, "seeds": scale.seeds, "chunk": scale.limit}
    told |= {"tuning": 2}
    return Part(
        plans, steps=steps or scale.steps, batch=batch or scale.batch,
        model={**scale.model, **(model or {})},
        settings={"betas": (0.9, 0.95), "weight_decay": 0.1, "clip": 1.0}, **(told | options),
    )  # fmt: skip


def _pair(part: str, a: str, b: str, where: str = "") -> Contrast:
    """One schedule against another in the same part; `where` tells apart who asks that twice."""
    return Contrast(f"{a} instead of {b}{where}", f"{part}/{a}", f"{part}/{b}")


def _each(pairs: Mapping[str, Sequence[str]]) -> _Contrasts:
    """In each part: one schedule against each of some others."""

    def contrasts(parts: Mapping[str, Part]) -> list[Contrast]:
        asked = []
        for (a, others), part in product(pairs.items(), parts):
            where = f", {part}" if len(parts) > 1 else ""
            asked += [_pair(part, a, b, where) for b in others]
        return asked

    return contrasts


# ------------------------------------------------------------------------------------- the headline


def _growth(scale: Scale) -> dict[str, Part]:
    """Transformers of 11, 30 and 63 thousand parameters; width 18 at 20, 55 and 117 tokens a
    parameter, the wider ones at 20; a straight line to zero; warmup over at most 100 updates.
    """
    (small, wide, widest), (short, middle, long) = {
        "cpu": ((18, 32, 48), (426, 1172, 2479)),
        "gpu": ((96, 144, 192), (1716, 3789, 6672)),
    }[scale.name]
    found = {}
    pairs = ((small, short), (small, middle), (small, long), (wide, middle), (widest, long))
    for width, n in pairs:
        plans = {name: plan(name, n, warmup=min(100, n // 10)) for name in ("constant", "linear")}
        peaks = [scale.peaks[0] * 2.0**i for i in range(-1, 4)]
        few = {"peaks": peaks[:4], "seeds": min(8, scale.seeds)} if width == widest else {}
        options = {"peaks": peaks} | few
        title = f"width {width}, {n} updates"
        found[title] = _gpt(scale, plans, n, 2 * scale.batch, {"width": width}, **options)
    return found


def _growth_contrasts(parts: Mapping[str, Part]) -> list[Contrast]:
    short, middle, long, wide, widest = parts
    asked = _each({"constant": ("linear",)})(parts)
    for more, less in ((long, short), (wide, middle), (widest, long)):
        taken = (f"{less}/constant", f"{less}/linear")
        what = f"constant instead of linear: {more}, less {less}"
        asked.append(Contrast(what, f"{more}/constant", f"{more}/linear", less=taken))
    return asked


# ---------------------------------------------------------------------------------- which schedule


def _schedules(scale: Scale) -> dict[str, Part]:
    """A Transformer of 30 thousand parameters; warmup over a tenth of the run; wsd cools down over
    the last fifth.
    """
    lengths = {"warmup": scale.steps // 10, "cooldown": scale.steps // 5}
    return {"one": _gpt(scale, {name: plan(name, scale.steps, **lengths) for name in PLANS})}


def _shapes(scale: Scale) -> dict[str, Part]:
    """A network of one hidden layer, 19 thousand parameters, that guesses the next character; to
    zero, but for the exponentials; no warmup; the exponential to 10 % was added after a first run,
    which had shown how harsh 1 % is; the line to a tenth was added after the others had been seen,
    with 6 tuning seeds and 64 others.
    """

    def shapes(n: int) -> dict[str, Schedule]:
        return {
            "constant": Constant(),
            "exponential to 10 %": Exponential(0.1 ** (1 / n)),
            "exponential to 1 %": Exponential(0.01 ** (1 / n)),
            "cosine": Cosine(n),
            "linear": Linear(1, 0, n),
        }

    peaks = [0.002 * 2**i for i in range(6)]
    found = {
        f"{n} updates of {batch}": Part(shapes(n), peaks, n, batch)
        for n in (500, 2000)
        for batch in (32, 128)
    }
    ends = {"line to a tenth": Linear(1, 0.1, 500), "linear": Linear(1, 0, 500)}
    return found | {_TENTH: Part(ends, peaks, 500, 32, tuning=6, seeds=64)}


def _shapes_contrasts(parts: Mapping[str, Part]) -> list[Contrast]:
    four = {title: part for title, part in parts.items() if title != _TENTH}
    asked = _each(dict.fromkeys(_SHAPES, ("linear",)))(four)
    return [*asked, _pair(_TENTH, "line to a tenth", "linear", ", 500 updates of 32")]


def _cuts(scale: Scale) -> dict[str, Part]:
    """A network of one hidden layer that guesses the next character; one cut to a tenth, or three
    to 0.3 each; the pair at one rate, about the best of the constant one, was added after the
    others had been seen.
    """
    n = 1000
    plans: dict[str, Schedule] = {
        f"at {share} %": MultiStep([n * share // 100], 0.1) for share in (30, 50, 70, 80, 90, 95)
    }
    plans |= {"at 50, 75 and 90 %": MultiStep([n // 2, n * 3 // 4, n * 9 // 10], 0.3)}
    plans |= {"constant": Constant(), "linear": Linear(1, 0, n)}
    both = {name: plans[name] for name in ("constant", "at 80 %")}
    return {
        "one": Part(plans, [0.002 * 2**i for i in range(6)], n),
        "one rate": Part(both, [0.005], n),
    }


def _cuts_contrasts(parts: Mapping[str, Part]) -> list[Contrast]:
    against = dict.fromkeys(_CUTS, ("at 80 %",)) | {"at 80 %": ("linear",)}
    kept = _pair("one rate", "at 80 %", "constant", ", both at a rate of 0.005")
    return [*_each(against)({"one": parts["one"]}), kept]


def _horizon(scale: Scale) -> dict[str, Part]:
    """A Transformer of 30 thousand parameters; a cosine to a tenth after a warmup over a tenth of
    the run; 2× is one planned for twice the run and cut off at its end.
    """
    warmup = scale.steps // 10
    plans = {
        f"{times:g}×": Warmup(warmup) >> Cosine(round(times * (scale.steps - warmup)), end=0.1)
        for times in (1.0, 1.25, 1.5, 2.0, 5.0)
    }
    return {"one": _gpt(scale, plans)}


@dataclass(frozen=True, slots=True)
class Patched(Schedule):
    """CosineAnnealingLR(T_max=old) whose T_max was set to `length` after `at` calls of step()."""

    old: Count
    at: Count
    length: Count

    def formula(self, t: np.ndarray) -> np.ndarray:
        short, long = ((1 + np.cos(np.pi * t / n)) / 2 for n in (self.old, self.length))
        height = Cosine(self.old)(self.at) / Cosine(self.length)(self.at)
        return np.where(t < self.at, short, height * long)


def _extending(scale: Scale) -> dict[str, Part]:
    """A network of one hidden layer that guesses the next character; a cosine to zero, planned for
    1000 updates and made 2000; all at one peak, near the best one of the cosine over 1000; "not
    told" leaves T_max at 1000, so the rate climbs back; "T_max set" changes the attribute of a
    running CosineAnnealingLR; "raised" goes up again within 50 updates, and down along a cosine of
    its own; declared after a pilot (minibatches of 32, raised and down in a line), which favoured
    raising, too; the runs stopped at 1000 were added after the others had been seen, and after a
    pilot on other seeds, which said the same: a cosine over 2000, as it is or brought to zero in a
    line over the last 200 updates, and one over 1000.
    """
    first, n, rise = 1000, 2000, 50

    def raised(at: int, to: float = 1.0) -> Schedule:
        before = Cosine(first)
        up = Linear(before(at), to, rise)
        return before.take(at) >> up >> Cosine(n - at - rise).scale(to)

    plans: dict[str, Schedule] = {
        "planned": Cosine(n),
        "not told": Cosine(first) >> Cosine(first, end=1.0, start=0.0),
        "T_max set at 500": Patched(first, 500, n),
        "T_max set at 900": Patched(first, 900, n),
        "raised at 500": raised(500),
        "raised at 900": raised(900),
        "raised at 1000": raised(1000),
        "raised at 1000, to half": raised(1000, 0.5),
    }
    long, rest = Cosine(n), first // 5
    stopped: dict[str, Schedule] = {
        "fitting": Cosine(first),
        "too long": long,
        "too long, 20 % down": long.take(first - rest) >> Linear(long(first - rest), 0, rest),
    }
    return {
        "first": Part({"cosine": Cosine(first)}, [0.002 * 2**i for i in range(6)], first),
        "one": Part(plans, [0.012], n),
        "stopped": Part(stopped, [0.012], first, tuning=1),
    }


def _extending_contrasts(parts: Mapping[str, Part]) -> list[Contrast]:
    names = [name for name in parts["one"].schedules if name != "planned"]
    asked = [_pair("one", name, "planned") for name in names]
    what = "raised at 1000 to half instead of to the peak"
    asked.append(Contrast(what, "one/raised at 1000, to half", "one/raised at 1000"))
    down = "too long, 20 % down"
    pairs = (("too long", "fitting"), (down, "fitting"), (down, "too long"))
    return asked + [_pair("stopped", a, b, ", stopped at 1000") for a, b in pairs]


def _cooldown(scale: Scale) -> dict[str, Part]:
    """A Transformer of 30 thousand parameters; a constant rate after a warmup over a tenth, then
    down to zero over the share named; the cosine goes to zero too.
    """
    warmup = scale.steps // 10
    plans: dict[str, Schedule] = {
        "cosine": plan("cosine", scale.steps, warmup=warmup),
        "line": plan("linear", scale.steps, warmup=warmup),
    }
    for share in (5, 10, 20, 40, 70):
        plans[f"{share} %"] = wsd(scale.steps, warmup, scale.steps * share // 100)
    plans["20 %, 1 − √"] = wsd(scale.steps, warmup, scale.steps // 5, shape=OneMinusSqrt)
    return {"one": _gpt(scale, plans)}


_HORIZONS, _RISE = (500, 1000, 2000), 50
_SHARED = 0.0073
"""The peak of all branches: the best one of the longest, by a pilot on the tuning seeds."""


def _shared(n: int) -> str:
    """The part whose branch has the shared peak; the longest one's own peak is that."""
    return f"{n} updates" + (", shared peak" if n < _HORIZONS[-1] else "")


def _branches(scale: Scale) -> dict[str, Part]:
    """A Transformer of 30 thousand parameters; warmup over 50 updates; branches come down to zero
    in a line over their last fifth, all at one peak, the best of the longest by a pilot on the
    tuning seeds; cosines and lines go to zero, each tuned for its length; the finished run made
    1000 updates along a cosine to a tenth, or a line to zero, and makes 1000 more; it is raised
    within 50 updates, and comes down to zero in a line; all of these, and the trunk beside them, at
    a peak of 0.012, near the best one of the finished run and above the trunk's.
    """
    longest, found = _HORIZONS[-1], {}
    for n in _HORIZONS:
        plans: dict[str, Schedule] = {
            "branch": wsd(n, _RISE, n // 5),
            "cosine": plan("cosine", n, warmup=_RISE),
            "line": plan("linear", n, warmup=_RISE),
        }
        found[f"{n} updates"] = _gpt(scale, plans, n)
        if n < longest:
            one = {"branch": plans["branch"]}
            found[_shared(n)] = _gpt(scale, one, n, peaks=[_SHARED], tuning=1)
    first, rest = 1000, longest - 1000
    finished = Warmup(_RISE) >> Cosine(first - _RISE, end=0.1)
    straight = plan("linear", first, warmup=_RISE)

    def raised(before: Schedule, at: float, to: float) -> Schedule:
        return before >> Linear(at, to, _RISE) >> Linear(to, 0, rest - _RISE)

    going: dict[str, Schedule] = {
        "held": finished >> Constant(0.1, rest),
        "held, then to zero": finished >> Constant(0.1, rest - 400) >> Linear(0.1, 0, 400),
        "to a quarter": raised(finished, 0.1, 0.25),
        "to the peak": raised(finished, 0.1, 1.0),
        "from zero to the peak": raised(straight, 0.0, 1.0),
        "trunk": wsd(longest, _RISE, longest // 5),
    }
    # Back to the trunk's checkpoint at 800, before the first cooldown, and 1000 updates from there.
    fewer = first - first // 5 + rest
    at: dict[str, Any] = {"peaks": [0.012], "tuning": 1}
    found["going on"] = _gpt(scale, going, longest, **at)
    trunk = {"trunk": wsd(fewer, _RISE, fewer // 5)}
    found["as many new updates"] = _gpt(scale, trunk, fewer, **at)
    return found


def _branches_contrasts(parts: Mapping[str, Part]) -> list[Contrast]:
    asked = []
    for n in _HORIZONS:
        own, shared = f"{n} updates", f"{_shared(n)}/branch"
        asked += [
            Contrast(f"branch instead of {other}, {n} updates", shared, f"{own}/{other}")
            for other in ("cosine", "line")
        ]
        if n < _HORIZONS[-1]:
            what = f"shared peak instead of the branch's own, {n} updates"
            asked.append(Contrast(what, shared, f"{own}/branch"))
    going, trunk = parts["going on"], "going on/trunk"
    asked += [
        Contrast(f"{name} instead of back to the trunk", f"going on/{name}", trunk)
        for name in going.schedules if name != "trunk"
    ]  # fmt: skip
    last, peak = _HORIZONS[-1], "going on/to the peak"
    others = {
        "held": "going on/held",
        "held, then to zero": "going on/held, then to zero",
        "to a quarter": "going on/to a quarter",
        "the trunk with as many new updates": "as many new updates/trunk",
        "the trunk at its own peak": f"{last} updates/branch",
        "a cosine planned for all": f"{last} updates/cosine",
    }
    pairs = others.items()
    return asked + [Contrast(f"to the peak instead of {what}", peak, run) for what, run in pairs]


def _floor(scale: Scale) -> dict[str, Part]:
    """A Transformer of 6 thousand parameters, 20 to 200 tokens a parameter; a straight line; warmup
    over at most 100 updates; the shortest runs were recorded twice: 16 seeds had given the tenth a
    lead of 0.36 % (0.20 to 0.52), runs with others gave less, so they were recorded anew with 6
    tuning seeds and 64 others.
    """
    small = {"gpu": {"layers": 4, "width": 96, "heads": 3}, "cpu": {"layers": 1, "width": 16}}
    model = GPT(**{**scale.model, **small[scale.name]})
    weights = sum(p.numel() for p in model.parameters())
    found = {}
    for ratio in (20, 80, 200):
        n = round(ratio * weights / scale.tokens)
        rise = min(100, n // 10)
        ends = {"to zero": 0.0, "to a tenth": 0.1}
        plans = {name: Warmup(rise) >> Linear(1, end, n - rise) for name, end in ends.items()}
        # Short runs bear larger peaks, and cost little: there the effect is small.
        more: dict[str, Any] = {}
        if ratio == 20:
            more = {"peaks": [*scale.peaks, 2 * scale.peaks[-1]], "tuning": 6}
            more |= {"seeds": 4 * scale.seeds}
        part = _gpt(scale, plans, n, model=small[scale.name], **more)
        found[f"{ratio} tokens a parameter"] = part
    return found


def _floor_contrasts(parts: Mapping[str, Part]) -> list[Contrast]:
    few, *_, many = parts
    asked = _each({"to a tenth": ("to zero",)})(parts)
    pair = (f"{few}/to a tenth", f"{few}/to zero")
    what = f"a tenth instead of zero: {many}, less {few}"
    return [*asked, Contrast(what, f"{many}/to a tenth", f"{many}/to zero", less=pair)]


def _law(scale: Scale) -> dict[str, Part]:
    lengths = {"warmup": scale.steps // 10, "cooldown": scale.steps // 5}
    names = ("constant", "cosine", "linear", "wsd", "step")
    plans = {name: plan(name, scale.steps, **lengths) for name in names}
    return {"one": _gpt(scale, plans, peaks=[scale.peaks[2]], every=50, tuning=1)}


_MOVED = {
    "tuned": 0.0144, "constant's peak": 0.00516, "constant's sum": 0.0103,
    "constant's bound": 0.0150, "the cut's peak": 0.0117, "the cut's sum": 0.0192,
    "the cut's bound": 0.0222,
}  # fmt: skip


def _moving(scale: Scale) -> dict[str, Part]:
    """A network of one hidden layer that guesses the next character; a straight line to zero at its
    own best peak in `cuts`, and at peaks that come from another schedule tuned there, constant or
    with one cut at 80 %: the same peak, the one with the same sum of rates, and the one by the
    ratio of the best peaks of a convex bound.
    """
    n = 1000
    lines = {name: Linear(1, 0, n).scale(rate) for name, rate in _MOVED.items()}
    return {"network": Part(lines, [1.0], n, tuning=1)}


def _moving_contrasts(parts: Mapping[str, Part]) -> list[Contrast]:
    pairs = [(name, "tuned") for name in _MOVED if name != "tuned"]
    pairs += [(f"{of}'s bound", f"{of}'s sum") for of in ("constant", "the cut")]
    return [_pair("network", a, b) for a, b in pairs]


def _norms(scale: Scale) -> dict[str, Part]:
    """Transformers of six blocks, 400 updates."""
    n, rise = 400, 80
    plans = {"without warmup": Cosine(n), "with warmup": Warmup(rise) >> Cosine(n - rise)}
    deep = {"layers": 6}
    return {
        "Pre-LN": _gpt(scale, plans, n, model=deep, peaks=[0.004 * 2**i for i in range(5)]),
        "Post-LN": _gpt(
            scale, plans, n, model=deep | {"post_ln": True}, peaks=[0.001 * 2**i for i in range(5)]
        ),
    }


# -------------------------------------------------------------------------- cycles and listening


def _cycles(scale: Scale) -> dict[str, Part]:
    """A network of one hidden layer that guesses the next character; the rate alone moves, the
    momentum stays.
    """
    n = 1200
    plans: dict[str, Schedule] = {
        "constant": Constant(),
        "linear": Linear(1, 0, n),
        "one-cycle": OneCycle(n),
        "triangular, base 1/4": Cyclic(0.25, 1.0, n // 8),
        "triangular, base 1/3": Cyclic(1 / 3, 1.0, n // 8),
        "triangular2, base 1/4": Cyclic(0.25, 1.0, n // 8, mode="triangular2"),
        "cosine": Cosine(n),
        "restarts, equal": CosineRestarts(n // 4),
        "restarts, doubling": CosineRestarts(n // 7 + 1, T_mult=2),
    }
    return {
        "AdamW": Part(plans, [0.002 * 2**i for i in range(6)], n),
        "SGD": Part(plans, [0.05 * 2**i for i in range(5)], n, **_SGD),
    }


_STAIRS, _STAYS = "cuts at 50 and 75 %", "one-cycle, momentum stays"


def _speed(scale: Scale) -> dict[str, Part]:
    """A network of one hidden layer that guesses the next character; each schedule tuned at each
    length; one-cycle by torch's class with its defaults, so the momentum moves between 0.85 and
    0.95, and beside it with a momentum that stays at 0.9.
    """

    def plans(n: int) -> dict[str, Schedule]:
        return {
            _STAIRS: MultiStep([n // 2, n * 3 // 4]),
            "linear": Linear(1, 0, n),
            _STAYS: OneCycle(n),
            "one-cycle": AsItComes(n),
        }

    sgd, peaks, n = _SGD | {"every": 50}, [0.05 * 2**i for i in range(5)], 1200
    found = {f"{n} updates": Part(plans(n), peaks, n, **sgd) for n in (150, 300, 600, 900, n)}
    adamw = Part(plans(n), [0.002 * 2**i for i in range(6)], n)
    return found | {f"{n} updates, AdamW": adamw}


def _speed_contrasts(parts: Mapping[str, Part]) -> list[Contrast]:
    target = f"1200 updates/{_STAIRS}"
    asked = [
        Contrast(f"{name} in {n} updates instead of cuts in 1200", f"{n} updates/{name}", target)
        for name in ("one-cycle", "linear")
        for n in (150, 300, 600, 900, 1200)
    ]
    return asked + _each({"one-cycle": ("linear", _STAYS)})(parts)


def _plateau(scale: Scale) -> dict[str, Part]:
    """A network of one hidden layer that guesses the next character; evaluated every 20 updates on
    2048 windows of validation text (clean) or on 64, drawn anew (noisy); 2048 are 1.6 times what
    the run learns from; the runs at one rate, and the plans that do not know the length, were added
    later.
    """
    n, few, all_of_them = 2000, 64, 2048
    peaks, mild = [0.002 * 2**i for i in range(6)], {"factor": 0.5, "patience": 3}
    plans: dict[str, Schedule | Listener] = {
        "constant": Constant(),
        "linear": Linear(1, 0, n),
        "defaults, clean": Listener(all_of_them),
        "defaults, noisy": Listener(few),
        "half after 3, clean": Listener(all_of_them, mild),
        "half after 3, noisy": Listener(few, mild),
    }
    noisy: dict[str, Schedule | Listener] = {
        "half after 10, noisy": Listener(few, mild | {"patience": 10}),
        "tenth after 3, noisy": Listener(few, mild | {"factor": 0.1}),
        "linear": Linear(1, 0, n),
    }  # at about the peak that all four listeners were tuned to
    blind = {"linear, for a third": Linear(1, 0, n // 3), "inverse time": InverseTime(1 / 300)}
    parts = {"one": Part(plans, peaks, n), "one rate": Part(noisy, [0.0135], n)}
    return parts | {"length": Part(blind, peaks, n)}


def _plateau_contrasts(parts: Mapping[str, Part]) -> list[Contrast]:
    asked = _each({
        "constant": ("linear", "defaults, clean", "half after 3, clean"),
        "defaults, clean": ("linear",), "half after 3, clean": ("linear",),
        "defaults, noisy": ("defaults, clean", "linear"),
        "half after 3, noisy": ("half after 3, clean", "linear"),
    })({"one": parts["one"]})  # fmt: skip
    patient, deep = "one rate/half after 10, noisy", "one rate/tenth after 3, noisy"
    pairs = [*product((patient, deep), ("one/half after 3, noisy", "one/linear"))]
    blind = [f"length/{name}" for name in parts["length"].schedules]
    pairs += [(a, b) for b in blind for a in ("one/half after 3, clean", patient)]
    return asked + [
        Contrast(f"{a.partition('/')[2]} instead of {b.partition('/')[2]}", a, b) for a, b in pairs
    ]


def _stopping(scale: Scale) -> dict[str, Part]:
    """A network of one hidden layer that reads 30 000 characters about six times; each peak tuned
    for the loss at the end of the run; stopped where the validation loss is lowest; the pair from
    0.01, a peak that suits a longer text, was added later.
    """
    n = 3000
    plans: dict[str, Schedule] = {"constant": Constant(), "linear": Linear(1, 0, n)}
    tried = {"one": [0.001 * 2**i for i in range(6)], "one rate": [0.01]}
    return {name: Part(plans, peaks, n, limit=30_000) for name, peaks in tried.items()}


def _stopping_contrasts(parts: Mapping[str, Part]) -> list[Contrast]:
    asked = []
    for part, where in (("one", ""), ("one rate", ", from 0.01")):
        fixed, line = f"{part}/constant", f"{part}/linear"
        for name in ("constant", "linear"):
            runs, what = f"{part}/{name}", f"{name} to its end instead of stopped early{where}"
            asked.append(Contrast(what, runs, f"{runs}@best"))
        both = "constant instead of linear, both"
        asked.append(Contrast(f"{both} to their end{where}", fixed, line))
        asked.append(Contrast(f"{both} stopped early{where}", f"{fixed}@best", f"{line}@best"))
    return asked


# ------------------------------------------------------------------- optimizers, averages, warmup


def _lines(n: int) -> dict[str, Schedule]:
    return {"constant": Constant(), "linear": Linear(1, 0, n)}


def _optimizers(scale: Scale) -> dict[str, Part]:
    """A network of one hidden layer that guesses the next character, 2000 updates; SGD with
    momentum 0.9, RMSprop and Adam as PyTorch sets them, AdamW with a weight decay of 0.1.
    """
    n, adaptive = 2000, [0.0005 * 2**i for i in range(7)]
    return {
        "SGD": Part(_lines(n), [0.05 * 2**i for i in range(5)], n, **_SGD),
        "RMSprop": Part(_lines(n), adaptive, n, optimizer=RMSprop),
        "Adam": Part(_lines(n), adaptive, n, optimizer=Adam),
        "AdamW": Part(_lines(n), adaptive, n, settings={"weight_decay": 0.1}),
    }


def _optimizers_contrasts(parts: Mapping[str, Part]) -> list[Contrast]:
    return _each({"constant": ("linear",)})(parts) + [
        Contrast(f"{name} instead of AdamW, both linear", f"{name}/linear", "AdamW/linear")
        for name in ("SGD", "RMSprop", "Adam")
    ]


def _averages(scale: Scale) -> dict[str, Part]:
    """A network of one hidden layer that guesses the next character, 2000 updates at a constant
    rate; the plain mean of the weights that the last updates leave, or the average that
    schedulefree keeps; each with its own best rate; a weight decay of 0.01, none in schedule-free
    as its package sets it, and 0.1 in two parts that were added after the others had been seen.
    """
    from schedulefree import AdamWScheduleFree  # type: ignore[import-untyped]

    n, peaks, fixed = 2000, [0.001 * 2**i for i in range(6)], {"constant": Constant()}
    found = {"AdamW": Part(_lines(n), peaks, n)}
    for share in (10, 20, 50):
        title = f"mean of the last {share} %"
        found[title] = Part(fixed, peaks, n, settings={"average": share / 100})
    for beta in (0.5, 0.9, 0.98):
        betas = {"betas": (beta, 0.999)}
        part = Part(fixed, peaks, n, optimizer=AdamWScheduleFree, settings=betas)
        found[f"schedule-free, β {beta}"] = part
    # Added later: above, AdamW has PyTorch's weight decay of 0.01, and a larger one suits the line.
    decay = {"weight_decay": 0.1}
    mean = Part(fixed, peaks, n, settings=decay | {"average": 0.5})
    found[_DECAYED] = Part(_lines(n), peaks, n, settings=decay)
    return found | {f"mean of the last 50 %, {_DECAYED}": mean}


_DECAYED = "weight decay 0.1"


def _averages_contrasts(parts: Mapping[str, Part]) -> list[Contrast]:
    first, *others, decayed, mean = parts
    asked = _each({"constant": ("linear",)})({first: parts[first]})
    asked = [Contrast("AdamW, constant instead of linear", asked[0].a, asked[0].b)]
    asked += [
        Contrast(f"{name} instead of linear", f"{name}/constant", f"{first}/linear")
        for name in others
    ]
    both = f"mean of the last 50 % instead of linear, both with {_DECAYED}"
    line = f"{decayed}/linear"
    asked.append(Contrast(both, f"{mean}/constant", line))
    return [*asked, Contrast(f"{_DECAYED} instead of 0.01, both linear", line, f"{first}/linear")]


def _muon(scale: Scale) -> dict[str, Part]:
    """A Transformer of 30 thousand parameters; Muon for the matrices of its linear layers, AdamW
    for the rest, one rate for both; in the same time: 56 % of the updates, as one takes 1.8 times
    as long on a CPU.
    """
    n, share = scale.steps, 0.56  # benchmarks/muon.py: an update takes 1.8 times as long
    rise = n // 10

    def plans(n: int) -> dict[str, Schedule]:
        return _lines(n) | {"warmup, linear": Warmup(rise) >> Linear(1, 0, n - rise)}

    fewer = round(share * n)
    return {
        "AdamW": _gpt(scale, plans(n), n),
        "Muon": _gpt(scale, plans(n), n, optimizer=Muon),
        f"Muon, {fewer} updates": _gpt(scale, _lines(fewer), fewer, optimizer=Muon),
    }


def _muon_contrasts(parts: Mapping[str, Part]) -> list[Contrast]:
    adamw, muon, fewer = parts
    pairs = {name: f"{muon}/{name}" for name in ("constant", "linear", "warmup, linear")}
    pairs |= {"in the same time, linear": f"{fewer}/linear"}
    asked = [
        Contrast(f"Muon instead of AdamW, {what}", run, f"{adamw}/{run.partition('/')[2]}")
        for what, run in pairs.items()
    ]
    known = {name: parts[name] for name in (adamw, muon)}
    return asked + _each({"constant": ("linear",), "linear": ("warmup, linear",)})(known)


_DECAYS = (0.0, 0.025, 0.1, 0.4, 1.6)


def _weight_decay(scale: Scale) -> dict[str, Part]:
    """A network of one hidden layer that guesses the next character; AdamW, a straight line to zero
    from two rates; text that is read once in part, and text read six times.
    """
    n, found = 3000, {}
    for text, limit in (("new text", 2_000_000), ("six epochs", 30_000)):
        for rate, decay in product((0.003, 0.012), _DECAYS):
            found[f"{text}, rate {rate}, decay {decay:g}"] = Part(
                {"linear": Linear(1, 0, n)}, [rate], n, limit=limit,
                settings={"weight_decay": decay},
            )  # fmt: skip
    return found


def _weight_decay_contrasts(parts: Mapping[str, Part]) -> list[Contrast]:
    asked = []
    for title in parts:
        where, _, decay = title.rpartition(", decay ")
        if decay != "0.1":
            what, base = f"decay {decay} instead of 0.1, {where}", f"{where}, decay 0.1/linear"
            asked.append(Contrast(what, f"{title}/linear", base))
    return asked


def _warmup(scale: Scale) -> dict[str, Part]:
    """A network of one hidden layer that guesses the next character; 600 updates, a straight warmup
    over the share named, then a straight line to zero; the part with β₁ = 0 was added after the
    others had been seen.
    """
    n, found = 600, {}
    plans: dict[str, Schedule] = {"without": Linear(1, 0, n)}
    for share in (2, 10, 40):
        rise = n * share // 100
        plans[f"{share} %"] = Warmup(rise) >> Linear(1, 0, n - rise)
    kinds: dict[str, tuple[float, dict[str, Any]]] = {
        "SGD": (0.025, _SGD),
        "AdamW": (0.002, {"settings": {"weight_decay": 0.1}}),
    }
    for (name, (first, kind)), batch in product(kinds.items(), (16, 256)):
        peaks = [first * 2**i for i in range(7)]
        found[f"{name}, batch {batch}"] = Part(plans, peaks, n, batch, **kind)
    # Added later: if it is Adam's unsettled mean of gradients that wants a warmup, this gains less.
    bare = {"weight_decay": 0.1, "betas": (0.0, 0.999)}
    found["AdamW with β₁ = 0, batch 16"] = replace(found["AdamW, batch 16"], settings=bare)
    return found


def _scaled_rate(scale: Scale) -> dict[str, Part]:
    """A network of one hidden layer that guesses the next character; SGD with momentum in batches
    of 256, 600 updates, at 16 times the best rate of batches of 16; at 32 times some of the runs
    without a warmup diverged.
    """
    n, rise = 600, 60
    plans: dict[str, Schedule] = {"without": Linear(1, 0, n)}
    plans["10 %"] = Warmup(rise) >> Linear(1, 0, n - rise)
    return {"16 times": Part(plans, [0.0527 * 16], n, 256, seeds=32, **_SGD)}


def _warmup_length(scale: Scale) -> dict[str, Part]:
    """A network of one hidden layer that guesses the next character; AdamW in batches of 16, 150
    and 2400 updates, a straight warmup, then a straight line to zero.
    """
    found = {}
    for n, first, rises in ((150, 0.004, (15, 60)), (2400, 0.001, (15, 60, 240))):
        plans: dict[str, Schedule] = {"without": Linear(1, 0, n)}
        for rise in rises:
            plans[f"{rise} updates"] = Warmup(rise) >> Linear(1, 0, n - rise)
        peaks = [first * 2**i for i in range(7)]
        found[f"a run of {n}"] = Part(plans, peaks, n, 16, settings={"weight_decay": 0.1})
    return found


def _warmup_length_contrasts(parts: Mapping[str, Part]) -> list[Contrast]:
    short, long = parts
    asked = _each({"without": ("15 updates", "60 updates")})(parts)
    return asked + [
        Contrast(
            f"10 % instead of 60 updates, {run}", f"{run}/{tenth} updates", f"{run}/60 updates"
        )
        for run, tenth in ((short, 15), (long, 240))
    ]


def _qk_norm(scale: Scale) -> dict[str, Part]:
    """A Transformer of 30 thousand parameters; warmup over a tenth, then a line to zero."""
    n, rise = scale.steps, scale.steps // 10
    plans = {"linear": Warmup(rise) >> Linear(1, 0, n - rise)}
    peaks = [scale.peaks[0] * 2.0**i for i in range(7)]
    return {
        name: _gpt(scale, plans, n, model={"qk_norm": qk_norm}, peaks=peaks)
        for name, qk_norm in (("plain", False), ("qk-norm", True))
    }


def _qk_norm_contrasts(parts: Mapping[str, Part]) -> list[Contrast]:
    return [Contrast("qk-norm instead of none", "qk-norm/linear", "plain/linear")]


# -------------------------------------------------------------------------------- scaling the rate

_SGD: dict[str, Any] = {"optimizer": SGD, "settings": {"momentum": 0.9}}


def _line(n: int, first: float, batch: int = 64, **options: Any) -> Part:
    """A straight line to zero, its peak tuned."""
    return Part({"line": Linear(1, 0, n)}, [first * 2**i for i in range(7)], n, batch, **options)


def _carried(rates: Mapping[str, float], n: int, batch: int = 64, **options: Any) -> Part:
    """Straight lines from rates that nobody tuned for this run."""
    plans = {rule: Linear(1, 0, n).scale(rate) for rule, rate in rates.items()}
    return Part(plans, [1.0], n, batch, tuning=1, **options)


def _ruled(parts: Mapping[str, Part]) -> list[Contrast]:
    """Each carried rate against the line that was tuned there."""
    return [
        Contrast(f"{rule} instead of tuned, {title}", f"{title}, carried/{rule}", f"{title}/line")
        for title in parts if f"{title}, carried" in parts
        for rule in parts[f"{title}, carried"].schedules
    ]  # fmt: skip


_SAMPLES = 128_000
_LENGTHS = {16: (2000, 4000), 64: (500, 1000), 256: (250, 1000), 1024: (250, 500)}
_AT_16 = {"SGD": 0.0486, "AdamW": 0.0063}
"""The best peaks of batches of 16, tuned in their own parts."""


def _batch(scale: Scale) -> dict[str, Part]:
    """A network of one hidden layer that guesses the next character; a straight line to zero; 128
    thousand samples in batches of 16 to 1024, with SGD and AdamW, and other lengths with AdamW, for
    the updates that a loss takes; what is carried is the best peak of batches of 16.
    """
    found = {}
    kinds: dict[str, dict[str, Any]] = {"SGD": _SGD, "AdamW": {}}
    for (kind, options), batch in product(kinds.items(), (16, 32, 64, 256, 1024)):
        n, first = _SAMPLES // batch, 0.0125 if kind == "SGD" else 0.002
        title, times = f"{kind}, batch {batch}", batch / 16
        found[title] = _line(n, first, batch, **options)
        if 16 < batch < 1024:
            powers = {"kept": 0, "root": 0.5, "in proportion": 1}
            rates = {rule: _AT_16[kind] * times**power for rule, power in powers.items()}
            found[f"{title}, carried"] = _carried(rates, n, batch, **options)
        for length in _LENGTHS.get(batch, ()) if kind == "AdamW" else ():
            found[f"{title}, {length} updates"] = _line(length, first, batch, **options)
    return found


_AT_250 = {0.999: 0.0158, 0.95: 0.0145}
"""The best peaks of runs of 250 updates, tuned in their own parts."""


def _length(scale: Scale) -> dict[str, Part]:
    """A network of one hidden layer that guesses the next character; a straight line to zero, and a
    constant rate; AdamW, with β₂ = 0.999 and 0.95; what is carried is the best peak of runs of 250
    updates.
    """
    found = {}
    for beta, n in product((0.999, 0.95), (250, 500, 1000, 4000)):
        title = f"{n} updates, β₂ = {beta}"
        options: dict[str, Any] = {"settings": {"betas": (0.9, beta)}}
        line = _line(n, 0.001, **options)
        found[title] = replace(line, schedules={**line.schedules, "constant": Constant()})
        if n > 250:
            rates = {"kept": _AT_250[beta], "root": _AT_250[beta] * (250 / n) ** 0.5}
            found[f"{title}, carried"] = _carried(rates, n, **options)
    return found


def _length_contrasts(parts: Mapping[str, Part]) -> list[Contrast]:
    tuned = {title: part for title, part in parts.items() if "constant" in part.schedules}
    return [*_ruled(parts), *_each({"constant": ("line",)})(tuned)]


_AT_32 = 0.0136
"""The best peak of width 32, where both parametrizations are one, tuned in its own part."""


def _width(scale: Scale) -> dict[str, Part]:
    """A network of two hidden layers that guesses the next character; AdamW, 1000 updates, a
    straight line to zero; as PyTorch has it, and in the maximal update parametrization from width
    32 on; what is carried is the best peak of width 32.
    """
    n, found = 1000, {}
    for kind, hidden in product(("standard", "muP"), (32, 128, 512)):
        model = {"hidden": hidden} | ({"base": 32} if kind == "muP" else {})
        title = f"{kind}, width {hidden}"
        found[title] = _line(n, 0.0005, model=model)
        if hidden > 32:
            rates = {"kept": _AT_32}
            if kind == "standard":
                rates["divided"] = _AT_32 * 32 / hidden
            found[f"{title}, carried"] = _carried(rates, n, model=model)
    return found


def _width_contrasts(parts: Mapping[str, Part]) -> list[Contrast]:
    return _ruled(parts) + [
        Contrast(
            f"muP instead of standard, width {n}",
            f"muP, width {n}/line",
            f"standard, width {n}/line",
        )
        for n in (128, 512)
    ]


_AT_2500 = 0.0109
"""The best peak of the short run, tuned in its own part."""


def _proxy(scale: Scale) -> dict[str, Part]:
    """A network of one hidden layer that guesses the next character; AdamW, a straight line to zero
    over 20 thousand updates, its peak carried from runs of an eighth of the length; beside it
    branches that come down over the last fifth, and the constant rate.
    """
    long, short = 20_000, 2500
    found = {"2500 updates": _line(short, 0.001)}
    tuned = _line(long, 0.0005, every=100)
    plans = {**tuned.schedules, "wsd": wsd(long, 0, long // 5), "constant": Constant()}
    found["20000 updates"] = replace(tuned, schedules=plans)
    powers = {"kept": 0.0, "eighth to the 0.3": 0.3, "root": 0.5}
    rates = {name: _AT_2500 * 8**-power for name, power in powers.items()}
    rates |= {"four times": 4 * _AT_2500, "a quarter": _AT_2500 / 4}
    found["20000 updates, carried"] = _carried(rates, long)
    return found


def _proxy_contrasts(parts: Mapping[str, Part]) -> list[Contrast]:
    long = "20000 updates"
    return _ruled(parts) + _each({"wsd": ("line",), "constant": ("line",)})({long: parts[long]})


# -------------------------------------------------------------------------------------- fine-tuning


def _finetuning(scale: Scale) -> dict[str, Part]:
    """A Transformer of 111 thousand parameters that has learned Python from sympy's source goes on
    with English from networkx's documentation: 300 updates of 16 windows of 64 characters, three
    times 100 thousand characters; AdamW without weight decay and clipping at 1, as transformers'
    Trainer has them; LoRA on all linear layers, α twice the rank.
    """
    n, peaks = 300, [0.0005 * 2**i for i in range(6)]

    def part(plans: Mapping[str, Schedule], peaks: Sequence[float], **begun: Any) -> Part:
        return Part(
            plans, peaks, n, 16, MODEL, settings={"weight_decay": 0.0, "clip": 1.0},
            tuning=1 if len(peaks) == 1 else 2, finetuned=begun,
        )  # fmt: skip

    line = {"linear": Linear(1, 0, n)}
    plans = _lines(n) | {"cosine": Cosine(n), "warmup, linear": plan("linear", n, warmup=n // 10)}
    found = {
        "all weights": part(plans, peaks),
        "from the plateau": part(line, peaks, checkpoint="plateau"),
        "from nothing": part(line, [4 * peak for peak in peaks], checkpoint=None),
        "at 5e-5": part(line, [5e-5]),
        "at a tenth of pretraining's peak": part(line, [PRETRAINED_AT / 10]),
    }
    for rank in (1, 4, 16):
        found[f"LoRA, rank {rank}"] = part(line, [4 * peak for peak in peaks], lora=rank)
    return found


def _finetuning_contrasts(parts: Mapping[str, Part]) -> list[Contrast]:
    first, *others = parts
    asked = _each(dict.fromkeys(("constant", "cosine", "warmup, linear"), ("linear",)))(
        {first: parts[first]}
    )
    return asked + [
        Contrast(f"{name} instead of {first}, linear", f"{name}/linear", f"{first}/linear")
        for name in others
    ]


_CUTS = [*(f"at {share} %" for share in (30, 50, 70, 90, 95)), "at 50, 75 and 90 %", "constant"]
_COOLDOWNS = ("5 %", "10 %", "20 %", "40 %", "70 %")

_SHAPES = ("constant", "cosine", "exponential to 10 %", "exponential to 1 %")
_TENTH = "500 updates of 32, to a tenth"

_DECLARED: dict[str, tuple[_Parts, _Contrasts]] = {
    "growth": (_growth, _growth_contrasts),
    "schedules": (_schedules, _each({
        "constant": ("step", "linear", "cosine-10%", "cosine", "wsd", "inverse-sqrt"),
        "cosine": ("wsd", "linear"),
    })),
    "shapes": (_shapes, _shapes_contrasts),
    "cuts": (_cuts, _cuts_contrasts),
    "horizon": (_horizon, _each(dict.fromkeys(("1.25×", "1.5×", "2×", "5×"), ("1×",)))),
    "extending": (_extending, _extending_contrasts),
    "cooldown": (_cooldown, _each(
        dict.fromkeys(_COOLDOWNS, ("cosine",)) | {"20 %, 1 − √": ("20 %",), "cosine": ("line",)}
    )),
    "branches": (_branches, _branches_contrasts),
    "floor": (_floor, _floor_contrasts),
    "cycles": (_cycles, _each({
        "one-cycle": ("linear",), "triangular, base 1/4": ("linear", "constant"),
        "triangular, base 1/3": ("linear",), "triangular2, base 1/4": ("linear",),
        "restarts, equal": ("cosine",), "restarts, doubling": ("cosine",),
    })),
    "speed": (_speed, _speed_contrasts),
    "plateau": (_plateau, _plateau_contrasts),
    "stopping": (_stopping, _stopping_contrasts),
    "optimizers": (_optimizers, _optimizers_contrasts),
    "averages": (_averages, _averages_contrasts),
    "muon": (_muon, _muon_contrasts),
    "weight-decay": (_weight_decay, _weight_decay_contrasts),
    "warmup": (_warmup, _each({"without": ("2 %", "10 %", "40 %")})),
    "scaled-rate": (_scaled_rate, _each({"without": ("10 %",)})),
    "warmup-length": (_warmup_length, _warmup_length_contrasts),
    "qk-norm": (_qk_norm, _qk_norm_contrasts),
    "norms": (_norms, _each({"without warmup": ("with warmup",)})),
    "fine-tuning": (_finetuning, _finetuning_contrasts),
    "law": (_law, _each({})),
    "moving": (_moving, _moving_contrasts),
    "batch": (_batch, _ruled),
    "length": (_length, _length_contrasts),
    "width": (_width, _width_contrasts),
    "proxy": (_proxy, _proxy_contrasts),
}  # fmt: skip
_ASKED = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
if unlike := _ASKED.keys() ^ _DECLARED.keys():
    raise ValueError(f"only in one of questions.py and questions.toml: {', '.join(sorted(unlike))}")

EXPERIMENTS = {n: Experiment(*_DECLARED[n], **_ASKED[n]) for n in _DECLARED}
"""Name → experiment: what it asks stands in `questions.toml`."""
