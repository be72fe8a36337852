"""A sweep on a cluster, or interrupted, is the same sweep."""

import os
import signal
import threading
import time

import joblib
import pandas as pd
import pytest
import torch
from distributed import Client, LocalCluster
from torch.optim import AdamW

from lrcourse.data import digits
from lrcourse.models import MLP
from lrcourse.schedules import Constant, Cosine
from lrcourse.sweeps import sweep

STEPS = 30
AXES = ["peak", "seed", "weight_decay"]
data = digits(torch.float64)


def model(seed):
    return MLP((64, 8, 10), seed=seed).double()


def run(model=model, batches=lambda seed: data.batches(16, seed), **options):
    options = {
        "peaks": [0.01, 0.03, 1e6], "seeds": [0, 1], "steps": STEPS, "every": 10, "chunk": 2,
        "schedules": {"constant": Constant(), "cosine": Cosine(STEPS)}, "evaluate": data.score,
        "weight_decay": [0.0, 0.1], "progress": False,
    } | options  # fmt: skip
    return sweep(model, batches, **options)


class Counted:
    """The minibatches, each draw counted; stops the sweep at the draw numbered `until`."""

    def __init__(self, until=None):
        self.drawn, self.until = 0, until

    def __call__(self, seed):
        draw = data.batches(16, seed)

        def batches(t):
            self.drawn += 1
            if self.drawn == self.until:
                raise KeyboardInterrupt
            return draw(t)

        return batches


def test_an_interrupted_sweep_goes_on_where_it_stopped(tmp_path):
    whole = run()
    first = Counted(until=200)
    with pytest.raises(KeyboardInterrupt):
        run(batches=first, cache=tmp_path)
    kept = len(list(tmp_path.glob("*.parquet")))
    assert 1 <= kept < 12
    second = Counted()
    pd.testing.assert_frame_equal(run(batches=second, cache=tmp_path), whole, check_exact=True)
    assert len(list(tmp_path.glob("*.parquet"))) == 12
    third = Counted()  # what is whole trains nothing: only the fingerprint looks at minibatches
    pd.testing.assert_frame_equal(run(batches=third, cache=tmp_path), whole, check_exact=True)
    assert third.drawn == 3 * 2 < second.drawn
    # A grid with one more peak trains the new chunks alone.
    wider = run(batches=(more := Counted()), cache=tmp_path, peaks=[0.01, 0.03, 1e6, 0.1])
    assert third.drawn < more.drawn <= third.drawn + 2 * 2 * 2 * STEPS
    known = wider[wider["peak"] != 0.1].reset_index(drop=True)
    pd.testing.assert_frame_equal(known, whole, check_exact=True)


def test_what_would_train_otherwise_is_not_taken_from_the_cache(tmp_path):
    cosine = {"a": Cosine(STEPS)}
    options = {"peaks": [0.01], "seeds": [0], "weight_decay": 0.0, "schedules": cosine}
    run(cache=tmp_path, **options)
    others = [
        {"schedules": {"a": Cosine(STEPS, end=0.1)}},
        {"weight_decay": 0.1},
        {"momentum": 0.9},
        {"seeds": [1]},
        {"steps": STEPS + 1},
        {"every": 15},
        {"clip": 0.1},
        {"average": 0.5},
        {"optimizer": AdamW},
        {"evaluate": None},
        {"stacked": False},
        {"loss": lambda out, y: torch.nn.functional.cross_entropy(out, y, label_smoothing=0.1)},
        {"model": lambda seed: MLP((64, 8, 10), torch.nn.Tanh, seed=seed).double()},
        {"batches": lambda seed: data.batches(32, seed)},
    ]
    for n, other in enumerate(others, start=2):
        run(cache=tmp_path, **options | other)
        assert len(list(tmp_path.glob("*.parquet"))) == n, other
    run(cache=tmp_path, **options | {"schedules": {"b": lambda t: Cosine(STEPS)(t)}})
    assert len(list(tmp_path.glob("*.parquet"))) == n  # the same work under another name


def test_a_damaged_file_of_the_cache_is_named(tmp_path):
    options = {"peaks": [0.01], "seeds": [0], "weight_decay": 0.0}
    run(cache=tmp_path, **options)
    file = next(tmp_path.glob("*.parquet"))
    file.write_bytes(file.read_bytes()[:-5])
    with pytest.raises(ValueError, match=rf"{file.name} is damaged, delete it"):
        run(cache=tmp_path, **options)


@pytest.fixture(scope="module")
def cluster():
    with LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None,
        host="127.0.0.1",
    ) as two:  # fmt: skip
        yield two


@pytest.mark.slow
def test_on_a_cluster_also_when_a_worker_dies(cluster, tmp_path):
    whole = run()
    longer = {"steps": 300, "every": 100, "chunk": 1, "seeds": [0], "peaks": [0.01, 0.02, 0.03]}
    with Client(cluster) as client, joblib.parallel_config(backend="dask"):
        pd.testing.assert_frame_equal(run(), whole, rtol=1e-9)
        before = set(client.run(os.getpid).values())

        def kill():
            deadline = time.monotonic() + 60
            while not list(tmp_path.glob("*.parquet")) and time.monotonic() < deadline:
                time.sleep(0.01)
            os.kill(min(before), signal.SIGKILL)

        killer = threading.Thread(target=kill)
        killer.start()
        found = run(cache=tmp_path, **longer)
        killer.join()
        client.wait_for_workers(2, timeout=60)
        assert set(client.run(os.getpid).values()) != before
    pd.testing.assert_frame_equal(found, run(**longer), rtol=1e-9)
