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

data, STEPS = digits(), 40


def go(make_schedule=lambda optimizer: None, rate=0.05, **options):
    net = MLP((64, 16, 10), seed=0)
    optimizer = SGD(net.parameters(), lr=rate)
    how = {"evaluate": data.score, "every": 16, "progress": False} | options
    return train(net, data.batches(32), optimizer, make_schedule(optimizer), steps=STEPS, **how)


def sequence(optimizer):
    parts = [LinearLR(optimizer, 0.1, total_iters=10), CosineAnnealingLR(optimizer, STEPS - 10)]
    return SequentialLR(optimizer, parts, milestones=[10])


@pytest.mark.parametrize("rate", [0.05, 1e8])  # the second run diverges
def test_a_run_is_saved_and_loaded_whole(tmp_path, rate):
    run, file = go(sequence, rate), tmp_path / "run.npz"
    run.save(file)
    again = Run.load(file)
    for name in ("loss", "rate", "gradient_norm", "update_norm", "evaluated_at"):
        np.testing.assert_array_equal(getattr(again, name), getattr(run, name))
    assert list(again.evaluations) == list(run.evaluations)
    for name, values in run.evaluations.items():
        np.testing.assert_array_equal(again.evaluations[name], values)
    assert (again.diverged_at, again.stepped) == (run.diverged_at, run.stepped)
    assert (run.diverged_at is None) == (rate == 0.05)
    file.write_bytes(b"something else")
    with pytest.raises(ValueError, match="not a saved run"):
        Run.load(file)


def test_a_run_names_the_torch_schedulers_that_it_stepped():
    assert go(sequence).stepped == ("SequentialLR", "LinearLR", "CosineAnnealingLR")
    assert go(lambda _: Cosine(STEPS)).stepped == go().stepped == ()


def test_logs_to_tensorboard_what_it_records(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run = go(lambda _: Cosine(STEPS), log=tmp_path)
    events = EventAccumulator(str(tmp_path), size_guidance={"scalars": 0}).Reload()
    wanted = {"rate": run.rate[:, 0], "loss": run.loss, "update_norm": run.update_norm}
    for name, recorded in wanted.items():
        np.testing.assert_allclose([e.value for e in events.Scalars(name)], recorded, rtol=1e-6)
    assert [e.step for e in events.Scalars("test_loss")] == [0, 16, 32, 40]
