"""What a run wrote down is kept whole, and shown."""

import numpy as np
import pytest
from torch.optim import SGD
from torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR, SequentialLR

from lrcourse.data import digits
from lrcourse.models import MLP
from lrcourse.runs import Run
from lrcourse.schedules import Cosine
from lrcourse.training import train

data = digits()


STEPS = 40


def fresh(optimizer=SGD, **settings):
    model = MLP((64, 16, 10), seed=0)
    return model, optimizer(model.parameters(), lr=0.2, **settings)


def go(schedule=None, **options):
    model = MLP((64, 16, 10), seed=0)
    opt = SGD(model.parameters(), lr=0.05)
    options = {"steps": STEPS, "progress": False, "evaluate": data.score, "every": 16} | options
    return train(model, data.batches(32), opt, schedule, **options), model


def warmup_cosine(optimizer):
    parts = [LinearLR(optimizer, 0.1, total_iters=10), CosineAnnealingLR(optimizer, STEPS - 10)]
    return SequentialLR(optimizer, parts, milestones=[10])


def test_a_run_is_saved_and_loaded_whole(tmp_path):
    run, _ = go(Cosine(STEPS))
    run.save(tmp_path / "run.npz")
    again = Run.load(tmp_path / "run.npz")
    for name in ("loss", "rate", "gradient_norm", "update_norm", "evaluated_at"):
        np.testing.assert_array_equal(getattr(again, name), getattr(run, name))
    assert {n: v.tolist() for n, v in again.evaluations.items()} == {
        n: v.tolist() for n, v in run.evaluations.items()
    }
    assert again.diverged_at is None and list(again.evaluated_at) == [0, 16, 32, 40]
    (tmp_path / "run.npz").write_bytes(b"something else")
    with pytest.raises(ValueError, match="not a saved run"):
        Run.load(tmp_path / "run.npz")


def test_a_run_names_the_torch_schedulers_that_it_stepped():
    model, optimizer = fresh()
    scheduler = warmup_cosine(optimizer)
    run = train(model, data.batches(32), optimizer, scheduler, steps=2, progress=False)
    assert run.stepped == ("SequentialLR", "LinearLR", "CosineAnnealingLR")
    assert go(Cosine(STEPS))[0].stepped == go()[0].stepped == ()


def test_logs_to_tensorboard_what_it_records(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run, _ = go(Cosine(STEPS), log=tmp_path)
    events = EventAccumulator(str(tmp_path), size_guidance={"scalars": 0}).Reload()
    wanted = {"rate": run.rate[:, 0], "loss": run.loss, "update_norm": run.update_norm}
    for name, recorded in wanted.items():
        np.testing.assert_allclose([e.value for e in events.Scalars(name)], recorded, rtol=1e-6)
    assert [e.step for e in events.Scalars("test_loss")] == [0, 16, 32, 40]
