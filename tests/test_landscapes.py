"""Loss surfaces against torch's autograd, descents against its SGD, thresholds against theory."""

import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lrcourse.landscapes import BOUND, DoubleWell, Quadratic, descend

TURNED = Quadratic([1.0, 8.0], angle=0.6)
ROTATION = torch.tensor(
    [[np.cos(0.6), np.sin(0.6)], [-np.sin(0.6), np.cos(0.6)]], dtype=torch.float64
)


def _double_well(x: torch.Tensor) -> torch.Tensor:
    bowl = 0.5 * 1.0 * (x[0] + 1) ** 2
    pit = 0.5 * 25.0 * (x[0] - 1) ** 2 + 0.5
    return -0.03 * torch.logsumexp(torch.stack([-bowl / 0.03, -pit / 0.03]), dim=0)


# Each surface beside the same loss written once more, in torch.
SURFACES = {
    "quadratic": (
        TURNED,
        lambda x: 0.5 * (torch.tensor([1.0, 8.0]).double() * (ROTATION @ x) ** 2).sum(),
    ),
    "double well": (DoubleWell(), _double_well),
}


@pytest.mark.parametrize("name", SURFACES)
@settings(max_examples=60, deadline=None)
@given(coordinates=st.lists(st.floats(-4, 4), min_size=2, max_size=2))
def test_loss_and_gradient_equal_autograd(name: str, coordinates: list[float]) -> None:
    surface, loss = SURFACES[name]
    x = torch.tensor(coordinates[: len(surface.minimum)], dtype=torch.float64, requires_grad=True)
    value = loss(x)
    value.backward()
    assert surface(x.detach().numpy()) == pytest.approx(value.item(), rel=1e-10, abs=1e-12)
    np.testing.assert_allclose(surface.gradient(x.detach().numpy()), x.grad, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("name", SURFACES)
def test_minimum_is_the_lowest_place_and_shapes_follow_the_points(name: str) -> None:
    surface, _ = SURFACES[name]
    d = len(surface.minimum)
    np.testing.assert_allclose(surface.gradient(surface.minimum), 0, atol=1e-12)
    points = surface.minimum + np.random.default_rng(0).normal(size=(7, 5, d))
    assert surface(points).shape == (7, 5)
    assert surface.gradient(points).shape == (7, 5, d)
    assert (surface(points) > surface(surface.minimum)).all()


def test_no_place_of_the_double_well_is_sharper_than_its_sharper_well() -> None:
    x = np.linspace(-4, 4, 20001)[:, None]
    curvature = np.diff(DoubleWell().gradient(x)[:, 0]) / np.diff(x[:, 0])
    assert curvature.max() == pytest.approx(25.0, rel=1e-6)


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("name", ["quadratic", "double well"])
def test_descend_equals_torch_sgd(name: str, momentum: float) -> None:
    surface, loss = SURFACES[name]
    start = [-1.2, 1.0][: len(surface.minimum)]
    x = torch.tensor(start, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.SGD([x], lr=1e-3, momentum=momentum)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda t: 0.99**t)
    path = [x.detach().clone()]
    for _ in range(50):
        optimizer.zero_grad()
        loss(x).backward()
        optimizer.step()
        scheduler.step()
        path.append(x.detach().clone())
    ours = descend(surface, start, lambda t: 1e-3 * 0.99**t, 50, momentum=momentum)
    np.testing.assert_allclose(ours.path, torch.stack(path), rtol=0, atol=1e-12)
    # A matrix product may round differently for one point and for many.
    np.testing.assert_allclose(ours.losses, surface(ours.path), rtol=1e-12)


def test_many_descents_at_once_equal_each_alone() -> None:
    starts = np.random.default_rng(1).normal(size=(4, 1, 2))
    rates = np.array([0.01, 0.1, 0.3])
    together = descend(TURNED, starts, rates, 40, momentum=0.5)
    assert together.path.shape == (41, 4, 3, 2)
    assert together.losses.shape == (41, 4, 3)
    assert together.diverged_at.shape == (4, 3)
    alone = descend(TURNED, starts[2, 0], 0.3, 40, momentum=0.5)
    np.testing.assert_allclose(together.path[:, 2, 2], alone.path, rtol=1e-12)


@settings(max_examples=15, deadline=None)
@given(curvature=st.floats(0.01, 1e4), angle=st.floats(0.1, 3.0), kappa=st.floats(1.0, 1e4))
def test_the_cliff_stands_at_two_over_the_largest_curvature(
    curvature: float, angle: float, kappa: float
) -> None:
    bowl = Quadratic([curvature / kappa, curvature], angle=angle)
    rates = np.array([0.99, 1.01]) * 2 / curvature
    start = bowl.hessian[0] / curvature  # any point that is not on the flat axis
    losses = descend(bowl, start, rates, 1500).losses
    assert losses[-1, 0] < losses[0, 0]
    assert losses[-1, 1] > losses[0, 1]


@pytest.mark.parametrize("kappa", [10, 100, 1000])
def test_the_best_rate_and_the_best_momentum_of_a_bowl(kappa: int) -> None:
    """2 / (L + μ) leaves (κ − 1) / (κ + 1) a step; with momentum √β in the end (Polyak 1964).

    At the best pair a distance is about step × √β^step, so at first it grows.
    """
    root, bowl = np.sqrt(kappa), Quadratic([1 / kappa, 1.0])
    left = descend(bowl, [kappa, 1.0], 2 / (1 + 1 / kappa), 60).path
    far = np.linalg.norm(left, axis=-1)
    np.testing.assert_allclose(far[1:] / far[:-1], (kappa - 1) / (kappa + 1))
    rate, beta = (2 / (1 + 1 / root)) ** 2, ((root - 1) / (root + 1)) ** 2
    half = int(30 * root)
    far = np.linalg.norm(descend(bowl, [1.0, 1.0], rate, 2 * half, momentum=beta).path, axis=-1)
    per_step = (far[-1] / 2 / far[half]) ** (1 / half)
    assert per_step == pytest.approx(np.sqrt(beta), rel=1e-3)
    assert far.max() > far[0]


def test_inverse_time_travels_without_end_and_calms_down() -> None:
    """Robbins and Monro (1951): rates whose sum has no limit, and whose squares' sum has one.

    A constant rate arrives and trembles, an exponential stops half way.
    """
    valley, start = Quadratic([0.05, 1.0]), np.tile([10.0, 1.0], (64, 1))
    plans = (lambda t: 0.5, lambda t: 0.5 * (29 / 30) ** t, lambda t: 0.5 / (1 + t / 30))
    floor, stuck, falls = (
        descend(valley, start, plan, 1600, noise=0.3).losses[[400, 1600]].mean(-1) for plan in plans
    )
    assert floor[1] == pytest.approx(floor[0], rel=0.4)
    assert stuck[1] == pytest.approx(stuck[0], rel=1e-3) and stuck[1] > 4 * floor[1]
    assert falls[1] < 0.4 * falls[0] and falls[1] < 0.5 * floor[1]


def test_noise_is_fresh_for_every_descent_coordinate_and_update_and_the_same_for_a_seed() -> None:
    bowl = Quadratic([1.0, 1.0])
    noisy = descend(bowl, np.zeros((500, 2)), 1.0, 40, noise=0.3, seed=5)
    draws = noisy.path[1:]  # at rate 1 on this bowl each point is minus the noise
    assert draws.std() == pytest.approx(0.3, rel=0.02)
    correlation = np.corrcoef(np.moveaxis(draws, 1, -1).reshape(80, 500))
    assert np.abs(correlation - np.eye(80)).max() < 0.25
    across = np.corrcoef(np.moveaxis(draws, 1, 0).reshape(500, 80)[:60])
    assert np.abs(across - np.eye(60)).max() < 0.55
    again = descend(bowl, np.zeros((500, 2)), 1.0, 40, noise=0.3, seed=5)
    assert np.array_equal(again.path, noisy.path)


def test_a_diverged_descent_stands_still_and_says_when() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        wild = descend(TURNED, [[3.0, -2.0], [0.0, 0.0]], 0.5, 60)
        huge = descend(Quadratic([1.0]), [1.0], 1e300, 5)
    step = wild.diverged_at[0]
    assert step > 0
    assert wild.diverged_at[1] == -1
    assert np.isfinite(wild.path).all()
    assert (wild.losses <= BOUND).all()
    assert (wild.path[step - 1 :, 0] == wild.path[step - 1, 0]).all()
    assert huge.diverged_at == 1


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("curvatures", lambda: Quadratic([1.0, -1.0])),
        ("curvatures", lambda: Quadratic([])),
        ("angle", lambda: Quadratic([1.0], angle=0.5)),
        ("heights", lambda: DoubleWell(heights=(0.0, 1.9))),
        ("heights", lambda: DoubleWell(heights=(0.0, 1.0, 2.0))),  # type: ignore[arg-type]
        ("points", lambda: Quadratic([1.0, 2.0])([1.0])),
        ("points", lambda: DoubleWell()(3.0)),
        ("start", lambda: descend(TURNED, [np.nan, 0.0], 0.1, 3)),
        ("rate", lambda: descend(TURNED, [1.0, 0.0], -0.1, 3)),
        ("rate", lambda: descend(TURNED, [1.0, 0.0], lambda t: np.inf, 3)),
        ("rate", lambda: descend(TURNED, np.ones((3, 2)), np.ones(4), 3)),
        ("momentum", lambda: descend(TURNED, [1.0, 0.0], 0.1, 3, momentum=-0.1)),
        ("noise", lambda: descend(TURNED, [1.0, 0.0], 0.1, 3, noise=-1.0)),
        ("steps", lambda: descend(TURNED, [1.0, 0.0], 0.1, -3)),
    ],
)
def test_bad_arguments_are_named(name: str, call) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError, match=rf"^{name}\b"):
        call()
