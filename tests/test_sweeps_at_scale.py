"""A sweep on a cluster is the same sweep, also when a worker is lost."""

import os
import signal
import threading
import time

import joblib
import pandas as pd
import pytest
import torch
from distributed import Client, LocalCluster

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


@pytest.fixture(scope="module")
def cluster():
    with LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None,
        host="127.0.0.1",
    ) as two:  # fmt: skip
        yield two


@pytest.mark.slow
def test_on_a_cluster_also_when_a_worker_dies(cluster):
    whole = run()
    longer = {"steps": 300, "every": 100, "chunk": 1, "seeds": [0], "peaks": [0.01, 0.02, 0.03]}
    with Client(cluster) as client, joblib.parallel_config(backend="dask"):
        pd.testing.assert_frame_equal(run(), whole, rtol=1e-9)
        before = set(client.run(os.getpid).values())

        def kill():
            deadline = time.monotonic() + 60
            while not any(client.processing().values()) and time.monotonic() < deadline:
                time.sleep(0.01)
            os.kill(min(before), signal.SIGKILL)

        killer = threading.Thread(target=kill)
        killer.start()
        found = run(**longer)
        killer.join()
        client.wait_for_workers(2, timeout=60)
        assert set(client.run(os.getpid).values()) != before
    pd.testing.assert_frame_equal(found, run(**longer), rtol=1e-9)
