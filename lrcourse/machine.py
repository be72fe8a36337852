"""Is this machine ready for the course? Says in words what is missing and how to mend it.

`python3 course.py check` runs this file the day before a workshop; it adds how fast the machine is.
"""

import os
import shutil
import sys
import time
from collections.abc import Iterator
from importlib import metadata
from typing import TYPE_CHECKING

import psutil
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from lrcourse.evidence import measured

if TYPE_CHECKING:  # loaded where it is used: a PyTorch that cannot be loaded is for us to report
    import torch

__all__ = ["device", "device_name", "main", "pace", "problems", "report"]

MEMORY, DISK = 2.0, 1.0  # GiB that a chapter needs at most, with room to spare
TYPICAL = 45  # seconds that the course gives a typical chapter to run, on two cores
SAMPLE = 0.1  # seconds that one training of `pace` takes on such a machine
TOO_SLOW = 4.0  # times as slow: a chapter's cells then take longer than its reading leaves them


def device() -> "torch.device":
    """The best device that PyTorch sees here: an NVIDIA GPU, an Apple GPU, else the CPU."""
    import torch

    if torch.cuda.is_available():
        return torch.device("cuda")
    if torch.backends.mps.is_available():
        return torch.device("mps")
    return torch.device("cpu")


def device_name(where: "torch.device") -> str:
    """What to call a device in words: a GPU's model, or how many cores the CPU has.

    >>> import torch
    >>> device_name(torch.device("mps"))
    'mps'
    """
    import torch

    if where.type == "cuda":
        return torch.cuda.get_device_name(where)
    cores = os.cpu_count()
    name = "CPU, 1 core" if cores == 1 else f"CPU, {cores} cores"
    return name if where.type == "cpu" else where.type


def problems() -> list[str]:
    """What stands in the way, one sentence each with its mend; empty when all is well."""
    packages = list(_packages())
    return [*(packages or _loading()), *_room()]


def _packages() -> Iterator[str]:
    try:
        needs = [Requirement(text) for text in metadata.requires("lrcourse") or []]
        python = metadata.metadata("lrcourse")["Requires-Python"]
    except metadata.PackageNotFoundError:
        yield (
            "The package lrcourse is not installed in the Python that runs this notebook "
            f"({sys.executable}). Start the course with: python3 course.py lab"
        )
        return
    version = sys.version.split()[0]
    if not SpecifierSet(python).contains(version, prereleases=True):
        yield f"Python must be {python}, this is {version}. Install one of those, then start anew."
    for need in needs:
        if need.marker is not None and not need.marker.evaluate({"extra": ""}):
            continue
        try:
            has = metadata.version(need.name)
        except metadata.PackageNotFoundError:
            yield f"The package {need.name} is missing. Run: python3 course.py lab"
            continue
        if not need.specifier.contains(has, prereleases=True):
            yield (
                f"{need.name} must be {need.specifier}, found {has}. "
                "Delete the folder .venv, then run: python3 course.py lab"
            )


def _loading() -> Iterator[str]:
    try:
        import torch  # noqa: F401
    except (ImportError, OSError) as error:  # on Windows, a library of the system's is missing
        yield (
            f"PyTorch is installed and cannot be loaded ({error}). On Windows, install "
            "Microsoft's Visual C++ Redistributable; elsewhere delete the folder .venv, "
            "then run: python3 course.py lab"
        )


def _room() -> Iterator[str]:
    memory = psutil.virtual_memory().available / 2**30
    if memory < MEMORY:
        yield (
            f"Only {memory:.1f} GiB of memory are free, a chapter may need {MEMORY:g}. "
            "Close other programs and notebooks."
        )
    disk = shutil.disk_usage(".").free / 2**30
    if disk < DISK:
        yield f"Only {disk:.1f} GiB of disk are free, {DISK:g} are needed. Make room."


def report() -> None:
    """Print what the course found on this machine, and each problem with its mend."""
    import torch

    memory = psutil.virtual_memory()
    print("Python and packages ", measured(python=sys.version.split()[0], torch=torch.__version__))
    print("Cores and memory    ", measured(cores=os.cpu_count(), GiB=memory.total / 2**30))
    print("Chapter 13 trains on", measured(device=device().type))
    found = [f"✘ {problem}" for problem in problems()]
    print(*(found or ["✔ This machine is ready."]), sep="\n")


def pace() -> float:
    """How many times as long as the course expects training takes here; 1 is as expected.

    Times one small training, the network of chapter 00 for 400 updates, and keeps the best of
    three. Rough: chapters also run many networks at once, on several cores.
    """
    import torch

    from lrcourse.data import digits
    from lrcourse.models import MLP
    from lrcourse.training import train

    data, seconds, threads = digits(), [], torch.get_num_threads()
    torch.set_num_threads(1)  # as the chapters do: a network this small is fastest on one core
    for _ in range(3):
        model = MLP((64, 64, 10), seed=0)
        optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
        start = time.perf_counter()
        train(model, data.batches(32, 0), optimizer, steps=400, progress=False)
        seconds.append(time.perf_counter() - start)
    torch.set_num_threads(threads)
    return min(seconds) / SAMPLE


def main() -> int:
    """Say all there is to say about this machine; 0 when the course will run on it, else 1."""
    found = problems()
    memory, disk = psutil.virtual_memory(), shutil.disk_usage(".")
    print(
        f"Memory: {memory.available / 2**30:.1f} GiB free of {memory.total / 2**30:.1f}; "
        f"a chapter needs up to {MEMORY:g}."
    )
    print(f"Disk: {disk.free / 2**30:.1f} GiB free; {DISK:g} must be, now that all is installed.")
    if found:
        print(*(f"✘ {problem}" for problem in found), sep="\n")
        print("The course will not run here yet. Do what stands above, then check again.")
        return 1
    kind = device().type
    gpu = {"cuda": "an NVIDIA GPU", "mps": "an Apple GPU", "cpu": "none"}
    print(f"GPU: {gpu[kind]} is seen; chapter 13 trains on one, and no chapter needs one.")
    times = pace()
    print(
        f"Speed: the cells of a whole chapter, which get {TYPICAL} s where the course was timed, "
        f"may take about {TYPICAL * times:.0f} s here (a rough guess from one small training)."
    )
    if times > TOO_SLOW:
        print("That is slow. Close other programs, plug in the power, or share a machine.")
    print("✔ The course will run on this machine.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
