"""The widgets compute what lrcourse computes, and the code that they hand out does what they show.

Node runs the modules' own functions on arguments that are drawn here.
"""

import json
import math
import re
import shutil
import subprocess
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from lrcourse import widgets
from lrcourse.landscapes import DoubleWell, Quadratic, descend
from lrcourse.schedules import MultiStep

HERE = Path(widgets.__file__).parent
DRAWS = 40
rng = np.random.default_rng(20)  # the same draws on every run
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
    assert {path.stem for path in HERE.glob("*.svg")} == {*widgets.NAMES}
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
    for name in widgets.NAMES:
        again = (tmp_path / f"{name}.svg").read_bytes()
        assert again == (HERE / f"{name}.svg").read_bytes(), "run node lrcourse/widgets/stills.mjs"
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


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: widgets.descent(rate=0), "rate is 0, expected a finite number > 0"),
        (lambda: widgets.descent(land="hill"), "land is 'hill', expected 'parabola' or"),
        (lambda: widgets.cloud(batch=3), "batch is 3, expected 1 or 4 or 16 or 64"),
        (lambda: widgets.cloud(cuts=[300, 100]), "cuts is .300, 100., expected ascending"),
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
