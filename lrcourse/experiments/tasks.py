"""What the runs of a part train, on which text, and how that is trained which no stack can do:
a rate that listens, and a momentum that moves.
"""

from collections.abc import Callable, Iterable, Mapping
from functools import cache, partial
from typing import Any

import joblib
import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.optim.lr_scheduler import OneCycleLR, ReduceLROnPlateau

from lrcourse.data import Corpus, sympy_corpus, sympy_text
from lrcourse.experiments.declared import AsItComes, Listener, Part
from lrcourse.experiments.finetuning import begin, english_corpus
from lrcourse.models import GPT, NextCharacter, WideNetwork, next_token_loss
from lrcourse.runs import Run
from lrcourse.sweeps import sweep
from lrcourse.training import train

__all__ = ["build_model", "evaluate", "task", "trained", "windows"]


_TOGETHER = 10  # runs of a chunk on a CPU: enough to gain from the stack, few enough to share out


def task(part: Part, where: torch.device) -> dict[str, Any]:
    """What `trained` and `sweep` are told of a part, but for schedules, peaks, seeds and steps."""
    settings = dict(part.settings) | {"chunk": part.chunk or _TOGETHER}
    if part.transformer:
        settings |= {"loss": next_token_loss, "bf16": where.type == "cuda"}
    return {
        "model": partial(build_model, part, where),
        "batches": partial(_batches, part, where),
        "evaluate": partial(evaluate, part, where, True),
        "optimizer": part.optimizer, "every": part.every, "progress": False, **settings,
    }  # fmt: skip


def build_model(part: Part, where: torch.device, seed: int) -> nn.Module:
    """The model of a run, its first weights fixed by the seed."""
    if part.finetuned is not None:
        made: nn.Module = begin(**part.finetuned, seed=seed)
    elif part.transformer:
        made = GPT(**part.model, seed=seed)
    else:
        made = WideNetwork(**part.model, seed=seed) if part.model else NextCharacter(seed=seed)
    return made.to(where)


def _text(part: Part, where: torch.device | None = None) -> Any:
    """The text of a part, on the device where it is trained."""
    if not part.transformer:
        return sympy_text(limit=part.limit)
    if part.finetuned is not None:
        return _moved(english_corpus(), where or "cpu")
    return _moved(sympy_corpus(part.model["context"], part.model["vocabulary"]), where or "cpu")


@cache
def _moved(text: Corpus, where: torch.device | str) -> Corpus:
    return text.to(where)


def windows(part: Part) -> int:
    """Windows that an evaluation of a compared run reads."""
    text = _text(part)
    return len(text.x_test) + (0 if part.transformer else len(text.x_validation))


def _batches(part: Part, where: torch.device, seed: int) -> Callable[[int], tuple[Tensor, Tensor]]:
    return _text(part, where).batches(part.batch, seed)


def evaluate(part: Part, where: torch.device, test: bool, model: Any) -> dict[str, Tensor]:
    """The loss on validation data for tuning, and else on test data; small models tell both."""
    text = _text(part, where)
    tuned = {} if test and part.transformer else text.validate(model)
    if test and part.finetuned is not None:  # and what it still knows of what it had learned
        known = sympy_corpus(part.model["context"], tests=256).to(where)
        tuned["sympy_loss"] = known.score(model)["test_loss"]
    return tuned | (text.score(model) if test else {})


def trained(
    model: Callable[[int], nn.Module],
    batches: Callable[[int], Callable[[int], tuple[Tensor, Tensor]]],
    *,
    peaks: Any,
    seeds: Iterable[int],
    schedules: Mapping[str, Any],
    **settings: Any,
) -> pd.DataFrame:
    """What `sweep` does, and beside it what listens or moves the momentum, run by run."""
    if not isinstance(peaks, Mapping):
        peaks = dict.fromkeys(schedules, peaks)
    seeds = list(seeds)
    alone = {n: s for n, s in schedules.items() if isinstance(s, Listener | AsItComes)}
    planned = {n: s for n, s in schedules.items() if n not in alone}
    work = [
        joblib.delayed(_alone)(model, batches, name, one, float(peak), seed, settings)
        for name, one in alone.items()
        for peak in peaks[name]
        for seed in seeds
    ]
    frames = joblib.Parallel()(work)
    if planned:
        those = {name: peaks[name] for name in planned}
        frames += [sweep(model, batches, peaks=those, seeds=seeds, schedules=planned, **settings)]
    rows = pd.concat(frames, ignore_index=True)
    # Where weights are averaged, it is the average that is tuned and judged.
    for name in [name for name in rows if name.startswith("averaged_")]:
        rows[name.removeprefix("averaged_")] = rows.pop(name)
    return rows


def _alone(
    model: Callable[[int], nn.Module], batches: Callable[[int], Any], name: str,
    plan: Listener | AsItComes, peak: float, seed: int, settings: Mapping[str, Any],
) -> pd.DataFrame:  # fmt: skip
    """One run under ReduceLROnPlateau or OneCycleLR, in the rows that `sweep` would give."""
    steps, every, net = settings["steps"], settings["every"], model(seed)
    own = {k: v for k, v in settings.items() if k in ("betas", "momentum", "weight_decay")}
    optimizer = settings["optimizer"](net.parameters(), lr=peak, **own)
    if isinstance(plan, Listener):
        hear = _hearing(plan, seed, steps, every, settings["evaluate"])
        scheduler: Any = ReduceLROnPlateau(optimizer, **plan.settings)
        told: dict[str, Any] = {"metric": "heard", "evaluate": hear, "every": plan.every}
    else:
        scheduler = OneCycleLR(optimizer, peak, plan.total_steps)
        told = {"evaluate": settings["evaluate"], "every": every}
    alone: dict[str, Any] = {"steps": steps, "norms": False, "progress": False}
    run = train(net, batches(seed), optimizer, scheduler, **alone, **told)
    return _rows(run, steps, every).assign(schedule=name, peak=peak, seed=seed)


def _hearing(
    listener: Listener, seed: int, steps: int, every: int, evaluate: Any
) -> Callable[[nn.Module], dict[str, Any]]:
    """An evaluation that gives the listener its own loss, and the rest where a row is due."""
    text, rng = sympy_text(), np.random.default_rng((seed, 1))
    calls = iter(range(0, steps + listener.every, listener.every))

    def hear(net: nn.Module) -> dict[str, Any]:
        drawn = rng.permutation(len(text.x_validation))[: listener.windows]
        x, y = text.x_validation[drawn], text.y_validation[drawn]
        told = {"heard": cross_entropy(net(x), y)}
        t = next(calls)
        due = evaluate is not None and t > 0 and (t % every == 0 or t >= steps)
        blank = {"validation_loss": np.nan, "test_loss": np.nan}
        return told | blank | (evaluate(net) if due else {})

    return hear


def _rows(run: Run, steps: int, every: int) -> pd.DataFrame:
    """What became of a run, a row each `every` updates."""
    at = range(every, steps + 1, every)
    rows = pd.DataFrame({"step": at})
    made = np.full(steps, np.nan)
    made[: len(run.loss)] = run.loss
    rows["loss"] = [made[t - every : t].mean() for t in at]
    rows["rate"] = [run.rate[t - 1, 0] if t <= len(run.rate) else np.nan for t in at]
    values = pd.DataFrame(run.evaluations, index=run.evaluated_at).reindex(at)
    rows = rows.join(values.reindex(columns=["validation_loss", "test_loss"]), on="step")
    return rows.assign(diverged_at=pd.array([run.diverged_at] * len(rows), dtype="Int64"))
