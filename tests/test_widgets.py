"""The widgets compute what lrcourse computes, and the code that they hand out does what they show.

Node runs the modules' own functions on arguments that are drawn here.
"""

import html
import json
import math
import os
import re
import shutil
import subprocess
import sys
import types
import warnings
from collections.abc import Callable
from functools import reduce
from itertools import pairwise
from operator import mul, rshift
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from lrcourse import schedules, widgets
from lrcourse.chapters.recipes import recipes
from lrcourse.chapters.theory import bound
from lrcourse.landscapes import DoubleWell, Quadratic, descend
from lrcourse.schedules import MultiStep, Schedule, values

HERE = Path(widgets.__file__).parent
ROOT = HERE.parents[1]
DRAWS = 40
rng = np.random.default_rng(int(os.environ.get("SEED", 20)))  # the same draws on every run
pytestmark = pytest.mark.skipif(not shutil.which("node"), reason="no node here: install Node.js")


def in_node(module: str, body: str, *arguments: Any) -> Any:
    """What an expression is in Node, where `m` is a widget's module and `a` the arguments."""
    code = f"""
        const m = await import({json.dumps((HERE / f"{module}.mjs").as_uri())})
        const a = JSON.parse(require("fs").readFileSync(0, "utf8"))
        const plain = (k, v) => ArrayBuffer.isView(v) ? [...v] : v
        console.log(JSON.stringify({body}, plain))"""
    command = [
        "node",
        "--input-type=module",
        "-e",
        f"import {{ createRequire }} from 'module'; const require = createRequire('/'); {code}",
    ]
    text = json.dumps(arguments, default=lambda v: v.tolist())
    done = subprocess.run(command, input=text, capture_output=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


# ----------------------------------------------------------------------------------- how they stand


def test_each_widget_is_one_module_that_imports_nothing_from_elsewhere(tmp_path: Path):
    assert {path.name.split(".")[0] for path in HERE.glob("*.svg")} == {*widgets.NAMES}
    for name in widgets.NAMES:
        whole = tmp_path / f"{name}.mjs"
        whole.write_text(widgets.bundle(name), encoding="utf-8")
        assert not re.search(
            r"^import |https?://(?!www\.w3\.org/)", whole.read_text(), re.MULTILINE
        )
        code = f'console.log(typeof (await import("{whole.as_uri()}")).default.render)'
        command = ["node", "--input-type=module", "-e", code]
        assert subprocess.run(command, capture_output=True, text=True).stdout == "function\n"


def test_the_still_pictures_are_what_the_modules_draw(tmp_path: Path):
    subprocess.run(["node", str(HERE / "stills.mjs"), str(tmp_path)], check=True)
    drawn = sorted(path.name for path in tmp_path.iterdir())
    assert drawn == sorted(path.name for path in HERE.glob("*.svg"))
    for name in drawn:
        again = (tmp_path / name).read_bytes()
        assert again == (HERE / name).read_bytes(), "run node lrcourse/widgets/stills.mjs"
        assert len(again) < 40_000


@pytest.mark.parametrize("name", widgets.NAMES)
def test_what_is_stored_is_the_same_each_time_and_speaks(name: str):
    first, again = (getattr(widgets, name)()._repr_mimebundle_()[0] for _ in range(2))
    live = "application/vnd.jupyter.widget-view+json"
    assert first.pop(live) != again.pop(live)
    assert first == again
    assert first["text/plain"] == f"{name}()"
    alt = re.search(r'<img alt="([^"]{80,})" src="data:image/svg', first["text/html"])
    assert alt and "undefined" not in alt[1] and "NaN" not in alt[1]


def stored(widget: widgets.Widget) -> str:
    return html.unescape(widget._repr_mimebundle_()[0]["text/html"])


def test_each_use_in_a_chapter_has_a_still_picture_of_what_is_asked_for():
    sources = sorted((ROOT / "notebooks" / "source").glob("*.md"))
    names = "|".join(widgets.NAMES)
    uses = [
        use
        for path in sources
        for use in re.findall(rf"^(?:widgets\.)?((?:{names})\(.*\))$", path.read_text(), re.M)
    ]
    assert {use.split("(")[0] for use in uses} == {*widgets.NAMES}
    for use in uses:
        text = stored(eval(f"widgets.{use}"))
        assert "not with" not in text, f"{use}: add it to ASKED in stills.mjs"
        asked = re.findall(r"\w+=[^,()]+", use.replace('"', "'"))
        assert asked == [words for words in asked if words in text.split("drawn with")[1]]


def test_a_still_picture_says_what_it_shows_and_holds_the_code():
    text = stored(widgets.descent(rate=0.3, land="valley"))
    assert "drawn with rate=0.1, momentum=0, land='parabola', not with rate=0.3, land=" in text
    assert "in JupyterLab when its cell is run" in text and "<metadata>" not in text
    body = "m.code({ ...m.default.start, moment: 0 })"
    assert f"<pre>{in_node('loop', body)}</pre>" in stored(widgets.loop())
    assert "<pre>from torch.optim import SGD\n" in stored(widgets.explorer())


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: widgets.descent(rate=0), "rate is 0, expected a finite number > 0"),
        (lambda: widgets.descent(land="hill"), "land is 'hill', expected 'parabola' or"),
        (lambda: widgets.cloud(batch=3), "batch is 3, expected 1 or 4 or 16 or 64"),
        (lambda: widgets.cloud(cuts=[300, 100]), "cuts is .300, 100., expected ascending"),
        (lambda: widgets.explorer(total=0), "total is 0, expected a whole number >= 1"),
    ],
)
def test_a_wrong_argument_is_named(call: Any, message: str):
    with pytest.raises(ValueError, match=message):
        call()


# ---------------------------------------------------------------------------------------- formulas


def test_descent_goes_as_landscapes_goes():
    draws = [
        {
            "curvatures": rng.uniform(0.1, 60, size=k).tolist(),
            "angle": float(rng.uniform(0, 3)) * (k == 2),
            "start": rng.normal(size=k).tolist(),
            "rate": float(rng.uniform(0, 0.05)),
            "momentum": float(rng.uniform(0, 1)),
        }
        for k in rng.integers(1, 3, size=DRAWS).tolist()
    ]
    body = """a[0].map(({ curvatures, angle, start, rate, momentum }) =>
        m.descend(m.Quadratic(curvatures, angle), start, rate, 60, momentum))"""
    found = in_node("descent", body, draws)
    for draw, walk in zip(draws, found, strict=True):
        bowl = Quadratic(draw["curvatures"], draw["angle"])
        ours = descend(bowl, draw["start"], draw["rate"], 60, momentum=draw["momentum"])
        assert_allclose(walk["path"], ours.path, rtol=1e-9, atol=1e-9 * np.abs(ours.path).max())
        assert_allclose(walk["losses"], ours.losses, rtol=1e-9, atol=1e-12 * ours.losses.max())


def test_descent_stands_still_where_it_has_diverged():
    (far,) = in_node("descent", "[m.descend(m.Quadratic([2]), [1], 99, 50)]")
    ours = descend(Quadratic([2.0]), [1.0], 99, 50)
    assert far["divergedAt"] == ours.diverged_at == 7
    assert_allclose(far["path"], ours.path)


def test_the_wells_are_the_same():
    x, heights = rng.uniform(-4, 4, size=(DRAWS, 1)), (0.0, 0.5)
    body = "a[0].map((x) => [m.DoubleWell(a[1]).loss(x), ...m.DoubleWell(a[1]).gradient(x)])"
    loss, slope = np.array(in_node("descent", body, x, heights)).T
    assert_allclose(loss, DoubleWell(heights)(x), rtol=1e-12, atol=1e-14)
    assert_allclose(slope, DoubleWell(heights).gradient(x)[:, 0], rtol=1e-12, atol=1e-12)


def test_the_cliff_is_where_a_walk_begins_to_grow():
    for momentum in (0.0, 0.5, 0.9):
        edge = in_node("descent", "m.cliff(a[0], a[1])", 4.0, momentum)
        below, above = (
            descend(Quadratic([4.0]), [1.0], edge * k, 3000, momentum=momentum).losses
            for k in (0.99, 1.01)
        )
        assert below[-1] < 1e-3 < 1 < above[-1]
        shrink = in_node("descent", "m.contraction(a[0], 4, a[1])", 0.05, momentum)
        x = np.abs(descend(Quadratic([4.0]), [1.0], 0.05, 400, momentum=momentum).path[:, 0])
        assert (x[200:300].max() / x[100:200].max()) ** 0.01 == pytest.approx(shrink, rel=5e-3)


def waves_of(rate: float, momentum: float) -> float:
    """By what angle a walk on a parabola of curvature 4 swings per step."""
    return np.abs(np.angle(np.roots([1, -(1 + momentum - 4 * rate), momentum]))).max()


def test_descent_says_in_words_how_a_walk_goes():
    """Whether it swings, by the signs of a real walk; and the headline of its figure."""
    draws = [(0.1, 0.0), (0.3, 0.0), (0.6, 0.0), *rng.uniform(0, (0.9, 0.95), (DRAWS, 2)).tolist()]
    body = """a[0].map(([rate, momentum]) => {
        const state = m.default.complete({ ...m.default.start, rate, momentum })
        const [, picture] = m.default.pictures(state, 400)
        return [m.swing(rate, 4, momentum), m.default.said(state), picture]
    })"""
    kinds = set()
    for draw, (kind, said, picture) in zip(draws, in_node("descent", body, draws), strict=True):
        walk = descend(Quadratic([4.0]), [1.0], draw[0], 400, momentum=draw[1])
        x = walk.path[:, 0]
        x = x[: np.append(np.flatnonzero((abs(x) < 1e-9) | (abs(x) > 1e9)), len(x))[0]]
        turns = x[1:] * x[:-1] < 0
        if kind == "each step":
            assert turns.all()
        elif kind == "not":
            assert not turns.any()
        elif waves_of(*draw) * len(x) > 1.1 * math.pi:  # else it is too short for a wave
            assert turns.any()
        kinds.add(kind)
        text = " ".join(said)
        away = walk.losses[-1] > walk.losses[0]
        assert ("leads away" in text) == away == ("cliff: the walk swings" in text), text
        assert (kind != "not" or away) == ("swings" in text), text
        assert said[0].removesuffix(".") in re.sub("<.*?>", " ", picture)
    assert kinds == {"not", "each step", "waves"}


def test_descent_tells_the_cliff_itself_from_both_its_sides():
    body = """a[0].map((rate) => m.default.said(
        m.default.complete({ ...m.default.start, rate })).join(" "))"""
    below, at, above = in_node("descent", body, [0.49, 0.5, 0.51])
    assert "but nearer" in below and "leads away" not in below
    assert "never settles" in at and "as wide as the one before it" in at
    assert "leads away" in above and "wider than the one before it" in above


def test_descent_shows_where_the_cliff_lies_to_who_has_been_there():
    """Neither a number nor a mark of the slider tells it before; another land hides it again."""
    body = """[0.4, 0.6, 0.3].reduce(([state, seen], rate) => {
        state = m.default.complete({ ...state, rate })
        const slider = m.default.controls(state).find((c) => c.key === "rate")
        return [state, [...seen, [m.default.said(state).join(" "), slider.marks]]]
    }, [m.default.complete(m.default.start), []])[1]"""
    before, there, after = in_node("descent", body)
    assert "The cliff is at 2/L." in before[0] and before[1] == [[0.25, "1/L"]]
    assert "above 2/L = 0.5, the cliff" in there[0]
    assert "The cliff is at 2/L = 0.5." in after[0] and [0.5, "2/L"] in after[1]
    body = """m.default.controls(m.default.start).find((c) => c.key === "land").then("valley")"""
    assert (
        in_node("descent", body.replace("m.default.start", "m.default.complete(m.default.start)"))[
            "crossed"
        ]
        is False
    )


def test_a_cloud_says_how_long_the_noise_of_earlier_updates_stays():
    body = """a[0].map(([rate, cut, shown]) => m.default.said(
        { ...m.default.start, rate, cuts: [cut], shown }).join(" "))"""
    asked = [(0.4, 150, 150), (0.4, 150, 160), (0.4, 150, 300), (0.4, 50, 40), (0.05, 200, 201)]
    for (rate, cut, shown), said in zip(asked, in_node("cloud", body, asked), strict=True):
        plan = rate * MultiStep([cut], 0.2)
        mean, variance, loss = 1.0, 0.0, [1.0]
        for t in range(400):
            mean *= 1 - plan(t)
            variance = (1 - plan(t)) ** 2 * variance + plan(t) ** 2 / 2
            loss.append(mean**2 + variance)
        floor = plan(shown) / (2 * (2 - plan(shown)))
        settled = np.flatnonzero(np.array(loss[shown:]) <= 1.1 * floor)
        if len(settled) == 0:
            assert "it will not be there when the run ends" in said
        elif settled[0]:
            assert f"in {settled[0]} updates it will be within a tenth of it" in said
            assert ("noise of earlier updates" in said) == (shown >= cut)
        else:
            assert "It has settled" in said


def test_a_cloud_goes_as_landscapes_goes_on_the_same_noise():
    for _ in range(5):
        rate, batch, cut = rng.uniform(0.01, 1), rng.choice([1, 4, 16, 64]), int(rng.integers(60))
        sigma, plan = (0.5 / batch) ** 0.5, rate * MultiStep([cut], 0.2)
        noise = np.random.default_rng(0).standard_normal((60, 30, 2))  # as descend draws it
        body = """(() => {
            const [start, rate, cut, batch, noise] = a
            const plan = (t) => rate * m.MultiStep([cut], 0.2)(t)
            const { path, averages } = m.descend(start, plan, 60, m.sigma(batch), noise)
            return { path, averages, losses: m.losses(path, 60, 30) }
        })()"""
        start = np.ones((30, 2))
        found = in_node("cloud", body, start.ravel(), rate, cut, batch, noise.ravel())
        ours = descend(Quadratic([1, 1]), start, plan, 60, noise=sigma)
        assert_allclose(np.reshape(found["path"], (61, 30, 2)), ours.path, rtol=1e-9, atol=1e-12)
        assert_allclose(found["losses"], ours.losses.mean(axis=1), rtol=1e-9)
        average = ours.path[0]
        for t in range(60):
            average = 0.98 * average + 0.02 * ours.path[t + 1]
        assert_allclose(found["averages"][-60:], average.ravel(), rtol=1e-9, atol=1e-12)


def test_a_cloud_settles_on_its_floor():
    for rate, batch in ((0.05, 1), (0.2, 4), (0.9, 16)):
        floor, mean = in_node(
            "cloud",
            "[m.floor(a[0], a[1]), m.expected([1, 1], () => a[0], 400, m.sigma(a[1]))]",
            rate,
            batch,
        )
        assert mean[-1] == pytest.approx(floor, rel=1e-6)
        runs = descend(Quadratic([1, 1]), np.ones((4000, 2)), rate, 200, noise=(0.5 / batch) ** 0.5)
        assert runs.losses[-1].mean() == pytest.approx(floor, rel=0.1)
        assert_allclose(runs.losses.mean(axis=1), mean[:201], rtol=0.15)
    chance = in_node("stage", "m.normals(20000, 3)")
    assert np.mean(chance) == pytest.approx(0, abs=0.03) and np.std(chance) == pytest.approx(
        1, abs=0.02
    )


LOOPS = [
    {"first": first, "once": once, "every": every, "scaler": scaler, "guard": guard}
    for first in ("optimizer", "scheduler")
    for once in ("update", "minibatch", "epoch")
    for every in (1, 2, 4)
    for scaler in (False, True)
    for guard in (False, True)[: 1 + scaler]
]


def torch_rates(code: str, infinite: int | None) -> tuple[list[float], bool]:
    """The rates at which code makes updates, and whether PyTorch warns of the order of its steps.

    The loss of minibatch number `infinite` is infinite: a scaler leaves out its update.
    """
    rates, batches = [], iter(range(10_000))

    class Watched(torch.optim.SGD):
        def __init__(self, *args: Any, **kwargs: Any):
            super().__init__(*args, **kwargs)
            self.register_step_post_hook(lambda o, *_: rates.append(o.param_groups[0]["lr"]))

    def loss(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return x.sum() * (math.inf if next(batches) == infinite else 1)

    names = {"model": torch.nn.Linear(1, 1), "loader": [(torch.ones(1), torch.zeros(1))] * 8}
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        patch.setattr("torch.optim.SGD", Watched)
        exec(code, names | {"loss_fn": loss})
    return rates, any("before `optimizer.step()`" in str(w.message) for w in caught)


def test_the_loop_gives_each_update_the_rate_that_torch_gives_it():
    """Its code is executed, with each of its settings."""
    body = "a[0].map((s) => ({ code: m.code(s), warns: m.warns(s), ...m.run(s) }))"
    for state, found in zip(LOOPS, in_node("loop", body, LOOPS), strict=True):
        fifth = 5 * state["every"] - 1 if state["scaler"] else None
        rates, warned = torch_rates(found["code"], fifth)
        assert_allclose(found["used"], rates, rtol=1e-12, atol=1e-15, err_msg=f"{state}")
        assert len(found["used"]) == 24 / state["every"] - state["scaler"]
        assert warned == found["warns"], state


def test_the_loop_says_whose_rates_the_updates_get():
    """Each sentence is taken at its word, and compared with the rates of the run and the plan."""
    body = """a[0].map((s) => ({ said: m.default.said({ ...s, moment: 9999 }).join(" "),
        plan: Array.from(Array(60).keys(), (t) => 0.1 * m.plan(t, m.updates(s))), ...m.run(s) }))"""
    for found in in_node("loop", body, LOOPS):
        used, plan, said = found["used"], found["plan"], found["said"]
        assert f"Update 1 is made at {used[0]:.3g}" in said
        if used[0] != pytest.approx(plan[0]):
            assert f"where {plan[0]:.3g} was planned" in said
        off = sum(abs(u - p) > 1e-9 for u, p in zip(used, plan, strict=False))
        assert said.startswith(f"{off} of {len(used)} updates" if off else "Each of the")
        told = re.findall(
            r"updates? (\d+)(?: to (\d+))? gets? (its own|their own|the rate of "
            r"(?:(\d+) to )?(\d+) steps? (later|earlier))",
            said,
        )
        assert bool(told) == bool(off)
        seen = []
        for first, last, _, low, high, way in told:
            span = range(int(first) - 1, int(last or first))
            seen += span
            sign = {"later": 1, "earlier": -1, "": 0}[way]
            shifts = {sign * n for n in range(int(low or high or 0), int(high or 0) + 1)}
            for t in span:
                assert any(used[t] == pytest.approx(plan[t + by]) for by in shifts if t + by >= 0)
        assert seen == [*range(len(used))] * bool(off)


# --------------------------------------------------------------------- schedules, and code for them

FAMILIES: dict[str, Callable[[], dict[str, Any]]] = {
    "Constant": lambda: {"factor": share(), "length": None},
    "Linear": lambda: {"start": share(), "end": share(), "length": steps()},
    "Polynomial": lambda: {"start": share(), "end": share(), "length": steps(), "power": near(3)},
    "Cosine": lambda: {"length": steps(), "end": share(), "start": share()},
    "OneMinusSqrt": lambda: {"length": steps(), "end": share(), "start": share()},
    "Exponential": lambda: {"gamma": 1 - near(0.1), "length": None},
    "InverseTime": lambda: {"rate": near(1), "length": None},
    "Step": lambda: {"step_size": steps(), "gamma": near(1)},
    "MultiStep": lambda: {"milestones": sorted([steps(), steps()]), "gamma": near(1)},
    "InverseSqrt": lambda: {"warmup": steps()},
    "Noam": lambda: {"d_model": steps(), "warmup": steps()},
    "CosineRestarts": lambda: {"T_0": steps(), "T_mult": int(rng.integers(1, 4)), "end": share()},
    "Cyclic": lambda: {
        "base": share(),
        "peak": 1.0,
        "step_size_up": steps(),
        "step_size_down": rng.choice([None, 7]),
        "mode": rng.choice(["triangular", "triangular2", "exp_range"]).item(),
        "gamma": 0.99,
    },
    "OneCycle": lambda: {
        "total_steps": 10 + steps(),
        "pct_start": rng.choice([0.25, 0.3, 0.5]),
        "div_factor": 25.0,
        "final_div_factor": 1e3,
        "anneal_strategy": rng.choice(["cos", "linear"]).item(),
    },
}


def share() -> float:
    return round(float(rng.choice([0, 1, rng.uniform()])), 2)


def steps() -> int:
    return int(rng.integers(1, 40))


def near(most: float) -> float:
    return round(float(rng.uniform(0.02, 1) * most), 3)


def drawn(kind: str) -> dict[str, Any]:
    """A schedule of this family, as the widgets write it."""
    return {"family": kind, **FAMILIES[kind]()}


def ours(tree: dict[str, Any]) -> Schedule:
    """The same as a schedule of the course."""
    given = {key: value for key, value in tree.items() if key != "family"}
    if tree["family"] == "Sequential":
        return reduce(rshift, map(ours, given["parts"]))
    if tree["family"] == "Product":
        return reduce(mul, map(ours, given["parts"]))
    if tree["family"] == "Taken":
        return ours(given["schedule"]).take(given["n"])
    if tree["family"] == "Stretched":
        return ours(given["schedule"]).stretch(given["r"])
    return getattr(schedules, tree["family"])(**given)


def composed() -> dict[str, Any]:
    """Up to three parts, each a family or a product of two, cut where another one follows."""
    parts, kinds = [], sorted(FAMILIES)
    for i in range(int(rng.integers(1, 4))):
        part = drawn(rng.choice(kinds))
        if rng.uniform() < 0.25:
            part = {"family": "Product", "parts": [part, drawn(rng.choice(kinds))]}
        if i or rng.uniform() < 0.3:
            n = ours(part).length
            if n is None or rng.uniform() < 0.2:
                part = {"family": "Taken", "schedule": part, "n": steps()}
        parts.insert(0, part)
    return {"family": "Sequential", "parts": parts} if len(parts) > 1 else parts[0]


USUAL = [  # what has a name of its own in one library or another
    [("Linear", 0, 1, 20), ("Constant", 1, None)],
    [("Linear", 0, 1, 20), ("Linear", 1, 0, 100)],
    [("Linear", 0, 1, 20), ("Cosine", 100, 0, 1)],
    [("Linear", 0, 1, 20), ("Cosine", 100, 0.1, 1)],
    [("Linear", 0, 1, 20), ("Polynomial", 1, 0.1, 100, 2)],
    [("Linear", 0.1, 1, 20), ("Cosine", 100, 0, 1)],
    [("InverseSqrt", 20)],
    [("Constant", 1, None)],
    [("Linear", 0, 1, 20), ("Constant", 1, 60), ("Linear", 1, 0, 40)],
    [("Linear", 0, 1, 20), ("Constant", 1, 60), ("Linear", 1, 0.1, 40)],
    [("Linear", 0, 1, 20), ("Constant", 1, 60), ("Cosine", 40, 0, 1)],
    [("Linear", 0, 1, 20), ("Constant", 1, 60), ("OneMinusSqrt", 40, 0, 1)],
    [("Cosine", 120, 0.1, 1)],
    [("Linear", 1, 0.1, 120)],
    [("Polynomial", 1, 0, 120, 2)],
    [("Step", 30, 0.1)],
    [("Exponential", 0.99, None)],
    [("InverseTime", 0.1, None)],
    [("OneCycle", 120, 0.3, 25, 1e4, "cos")],
    [("Cyclic", 0.1, 1, 20, None, "triangular2", 1.0)],
]


def written(parts: list[tuple[Any, ...]]) -> dict[str, Any]:
    trees = [
        {"family": kind, **dict(zip(FAMILIES[kind](), values, strict=True))}
        for kind, *values in parts
    ]
    return {"family": "Sequential", "parts": trees} if len(trees) > 1 else trees[0]


def test_schedules_and_their_algebra_are_the_same():
    trees = [drawn(kind) for kind in FAMILIES for _ in range(12)]
    trees += [composed() for _ in range(120)]
    trees += [{"family": "Stretched", "schedule": composed(), "r": near(5)} for _ in range(30)]
    body = "a[0].map((s) => ({ length: m.length(s), values: m.values(s, 130) }))"
    for tree, found in zip(trees, in_node("schedules", body, trees), strict=True):
        schedule = ours(tree)
        assert found["length"] == schedule.length, tree
        expected = values(schedule, 130)
        assert_allclose(found["values"], expected, rtol=1e-9, atol=1e-12, err_msg=str(tree))


def test_the_bound_is_the_same():
    rows = [rng.uniform(0, 1, size=n).round(2) for n in (1, 2, 5, 100)]
    rows += [np.array([1, 0, 0.5, 0, 0]), values(ours(written(USUAL[3])), 120)]
    for row, found in zip(rows, in_node("schedules", "a[0].map(m.bound)", rows), strict=True):
        expected = bound(lambda t, row=row: row[t], len(row))
        assert found["distance"] == pytest.approx(expected.distance)
        assert found["noise"] == pytest.approx(expected.noise)
        assert found["lowest"] == pytest.approx(expected.lowest)
        assert found["best_peak"] == pytest.approx(expected.best_peak)


def test_each_beginning_shows_what_the_course_computes():
    body = """
        "cosine linear wsd steps constant restarts onecycle sqrt draw".split(" ")
        .flatMap((begin) => ["updates", "epochs"].map((unit) => {
            const { start, complete, controls } = m.default
            const then = (key, value, state) => ({ ...state, [key]: value,
                ...controls(state).find((c) => c.key === key).then(value, state) })
            const state = then("unit", unit, then("begin", begin, complete({ ...start, ...a[0] })))
            const { near, factors, ...found } = m.found(state)
            return { begin, plan: m.plan(state), model: near.model, ...found,
                pictures: m.default.pictures(state, 400).join(""),
                words: m.default.said(state).join(" ") }
        }))"""
    models = {"models": widgets.explorer().state["models"]}
    for found in in_node("explorer", body, models):
        plan = found["plan"]
        factors = values(ours(plan["schedule"]), plan["total"]).repeat(plan["per"])
        assert found["updates"] == len(factors) == (1000 if plan["per"] == 1 else 2000)
        assert found["full"] == pytest.approx(factors.sum())
        assert found["end"] == pytest.approx(factors[-1])
        expected = bound(lambda t, factors=factors: factors[t], len(factors))
        assert found["bound"]["lowest"] == pytest.approx(expected.lowest)
        cosine = bound(schedules.Cosine(len(factors)), len(factors))
        assert found["cosine"]["best_peak"] == pytest.approx(cosine.best_peak)
        assert "NaN" not in found["pictures"] + found["words"], found["begin"]
    assert {found["model"] for found in in_node("explorer", body, models)} > {"nanochat"}


def test_no_part_changes_when_others_come_go_or_turn_into_something_else():
    """Parts are added to each beginning, changed and taken away: the others keep their steps."""
    body = """
        "cosine linear wsd steps constant restarts onecycle sqrt".split(" ").flatMap((begin) => {
            const { start, complete, controls, said } = m.default
            const find = (state, key) => controls(state).find((c) => c.key === key)
            const press = (state, key) => ({ ...state, ...find(state, key).then(state) })
            const set = (state, key, value) => { // a choice
                const [, i, name] = key.split(".")
                const parts = state.parts.map((p, j) => j == i ? { ...p, [name]: value } : p)
                return { ...state, parts, ...find(state, key).then(value, state) }
            }
            let state = complete({ ...start, begin })
            const seen = [["start", state]]
            const then = (what, next) => { state = next; seen.push([what, state]) }
            then("more", press(state, "more"))
            then("more", press(state, "more"))
            then("family", set(state, `parts.${state.parts.length - 2}.family`, "Constant"))
            then("family", set(state, "parts.0.family", "OneMinusSqrt"))
            then("fewer", press(state, "fewer"))
            then("fewer", press(state, "fewer"))
            return [seen.map(([what, s]) => ({ what, total: s.total, each: m.lengths(s),
                said: said(s).join(" "), plan: m.plan(s), words: find(s, "more").label }))]
        })"""
    for seen in in_node("explorer", body):
        for before, after in pairwise(seen):
            longest = max(len(before["each"]), len(after["each"]))
            kept = longest - (after["what"] != "family")
            assert before["each"][:kept] == after["each"][:kept], after["what"]
            assert sum(after["each"]) == after["total"]
            if after["what"] == "more":  # as its button had said
                assert f"a part of {after['each'][-1]} updates" in before["words"]
            if len(after["each"]) > 1:
                assert f"{' + '.join(map(str, after['each']))} = {after['total']}" in after["said"]
        ends = ours(seen[0]["plan"]["schedule"]), ours(seen[2]["plan"]["schedule"])
        n = seen[0]["total"]
        assert_allclose(values(ends[1], n), values(ends[0], n), rtol=1e-12, atol=1e-15)
        assert [seen[0]["each"], seen[1]["each"]] == [seen[-1]["each"], seen[-2]["each"]]


def test_parts_that_fill_more_than_the_run_are_said_to():
    body = """(() => {
        const state = m.default.complete({ ...m.default.start, begin: "wsd" })
        state.parts[1].take = 950
        return m.default.said(state).join(" ")
    })()"""
    said = in_node("explorer", body)
    assert "take 1050 updates, but the run has only 1000, so part 3 is never reached" in said


def test_named_models_are_the_same_and_each_is_nearest_to_itself():
    table = recipes().query("stages != ''")
    rows = [[name, row.year, row.family, row.stages] for name, row in table.iterrows()]
    assert widgets.explorer().state["models"] == rows
    body = """a[0].map((row) => m.shapeOf(m.stages(row[3])))
        .map((shape) => [shape, m.nearest(shape, a[0])])"""
    for row, (shape, found) in zip(rows, in_node("schedules", body, rows), strict=True):
        plan = table.loc[row[0], "schedule"]
        factors = plan(np.floor(np.arange(200) / 200 * plan.length).astype(np.int64))
        assert_allclose(shape, factors / factors.max(), rtol=1e-9, atol=1e-12)
        assert found["far"] < 1e-3, row[0]  # some are twins


# --------------------------------------------------------- the code that is copied, line by line


def run_torch(code: str, names: dict[str, Any], plan: dict[str, Any]) -> list[float]:
    exec(code, names)
    rates = []
    for update in range(plan["total"] * plan["per"]):
        rates.append(names["optimizer"].param_groups[0]["lr"])
        names["optimizer"].step()
        if (update + 1) % plan["per"] == 0:
            names["scheduler"].step()
    return rates


def run_plain(code: str, names: dict[str, Any], plan: dict[str, Any]) -> list[float]:
    exec(code, names)
    return [names["rate"](t) for t in range(plan["total"] * plan["per"])]


def run_keras(code: str, names: dict[str, Any], plan: dict[str, Any]) -> list[float]:
    exec(code, names)
    rate = names["optimizer"]._learning_rate
    asked = range(0, plan["total"] * plan["per"], 7)  # it is slow
    return [float(rate(t)) for t in asked]


def run_transformers(code: str, names: dict[str, Any], plan: dict[str, Any]) -> list[float]:
    """The Trainer itself needs accelerate; it makes its scheduler by `get_scheduler`, as we do."""
    import transformers

    class Given:
        def __init__(self, *args: Any, **given: Any):
            vars(self).update(given)

    stand_in = types.ModuleType("transformers")
    stand_in.Trainer = stand_in.TrainingArguments = Given
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "transformers", stand_in)
        exec(code, names)
    given, updates = vars(names["arguments"]), plan["total"] * plan["per"]
    assert given["max_steps"] == updates
    if "trainer" in names:
        optimizer, scheduler = names["trainer"].optimizers
    else:
        optimizer = torch.optim.AdamW(names["model"].parameters(), lr=given["learning_rate"])
        scheduler = transformers.get_scheduler(
            given["lr_scheduler_type"],
            optimizer,
            num_warmup_steps=given.get("warmup_steps", 0),
            num_training_steps=updates,
            scheduler_specific_kwargs=given.get("lr_scheduler_kwargs"),
        )
    names |= {"optimizer": optimizer, "scheduler": scheduler}
    return run_torch("", names, plan | {"total": updates, "per": 1})


RUN = dict.fromkeys(("torch", "lambda", "lrcourse"), run_torch) | {
    "plain": run_plain,
    "keras": run_keras,
    "transformers": run_transformers,
}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # torch's own, about calling `step(epoch)` inside its classes
@pytest.mark.parametrize("target", RUN)
def test_copied_code_gives_the_rates_of_the_schedule(target: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    trees = [drawn(kind) for kind in FAMILIES for _ in range(2)]
    trees += [composed() for _ in range(25)] + [written(parts) for parts in USUAL]
    plans = [
        {"schedule": tree, "peak": float(rng.choice([1.0, 0.1, 3e-4])), "total": 120, "per": per}
        for tree in trees
        for per in (1, 3)[: 1 + (rng.uniform() < 0.2)]
    ]
    plans += [plan | {"per": 1, "total": ours(plan["schedule"]).length or 120} for plan in plans]
    texts = in_node("code", "a[1].map((plan) => m.code(a[0], plan))", target, plans)
    own = 0
    for plan, text in zip(plans, texts, strict=True):
        names = {"model": torch.nn.Linear(1, 1), "data": None}
        rates = RUN[target](text, names, plan)
        expected = plan["peak"] * values(ours(plan["schedule"]), plan["total"]).repeat(plan["per"])
        expected = expected[::7] if target == "keras" else expected
        loose = {"rtol": 2e-6, "atol": 2e-7 * plan["peak"]} if target == "keras" else {}
        close = {"rtol": 1e-9, "atol": 1e-12 * plan["peak"]} | loose
        assert_allclose(rates, expected, **close, err_msg=f"{plan}\n{text}")
        assert len(max(text.splitlines(), key=len)) < 130, text
        own += "def " not in text
    assert own > len(USUAL) / 3 or target in ("lambda", "plain")


# ----------------------------------------------------------------------------------- listening


def stopped(metric: list[float], patience: int, threshold: float) -> int | None:
    """Chapter 08's rule: the number of values heard when the run is stopped."""
    best, bad = math.inf, 0
    for heard, value in enumerate(metric, start=1):
        best, bad = (value, 0) if value < best * (1 - threshold) else (best, bad + 1)
        if bad >= patience:
            return heard
    return None


def test_plateau_listens_as_schedules_does_and_stops_as_chapter_08_does():
    body = """a[0].map(({ metric, chance, ...settings }) => {
        const plateau = m.Plateau(settings)
        const { state, update } = plateau
        const heard = metric.map((value) => [update(value), state.bad, state.resting])
        return { heard, stop: m.stop_at(metric, settings.patience + 1, settings.threshold),
            run: m.listen({ ...settings, noise: 0.2 }, chance) }
    })"""
    draws = [
        {
            "factor": near(0.9),
            "patience": int(rng.integers(0, 8)),
            "threshold": float(rng.choice([0, 1e-4, 0.1])),
            "cooldown": int(rng.integers(0, 6)),
            "metric": (0.98 ** np.arange(80) * np.exp(0.1 * rng.normal(size=80))).tolist(),
            "chance": rng.normal(size=160).tolist(),
        }
        for _ in range(DRAWS)
    ]
    for draw, found in zip(draws, in_node("plateau", body, draws), strict=True):
        metric, chance = draw.pop("metric"), draw.pop("chance")
        plateau = schedules.Plateau(**draw)
        heard = [[plateau.update(v), plateau.bad, plateau.resting] for v in metric]
        assert_allclose(found["heard"], heard, rtol=1e-12)
        assert found["stop"] == stopped(metric, draw["patience"] + 1, draw["threshold"])
        plateau = schedules.Plateau(**draw)
        true = 0.97 ** np.minimum(np.arange(160), 80)
        metric = true * np.exp(0.2 * np.array(chance))
        assert_allclose([point["metric"] for point in found["run"]], metric, rtol=1e-12)
        assert_allclose([p["now"] for p in found["run"]], [plateau.update(v) for v in metric])
        assert found["run"][-1]["best"] == pytest.approx(plateau.best)


def test_plateau_says_how_late_it_notices_and_that_this_is_one_draw():
    body = """a[0].map((seed) => ({ said: m.default.said({ ...m.default.start, seed }).join(" "),
        run: m.listen({ ...m.default.start, seed }, n.normals(160, seed)) }))"""
    body = f"(await (async () => {{ const n = await import(a[1]); return {body} }})())"
    found = in_node("plateau", body, [0, 1, 2, 3], (HERE / "stage.mjs").as_uri())
    delays = set()
    for each in found:
        plateau, cuts = schedules.Plateau(factor=0.5, patience=5, threshold=1e-4, cooldown=0), []
        for heard, point in enumerate(each["run"], start=1):
            before = plateau.now
            if plateau.update(point["metric"]) < before:
                cuts.append(heard)
        late = min(cut for cut in cuts if cut > 80) - 80
        early = sum(cut <= 80 for cut in cuts)
        few = "No cut" if not early else "1 cut" if early == 1 else f"{early} cuts"
        assert each["said"].startswith(f"{few} too early; the plateau is noticed after {late} eval")
        assert "one draw of the noise: press “Other noise”" in each["said"]
        delays.add(late)
    assert len(delays) > 1  # which is why it says so
