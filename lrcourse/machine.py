"""Is this machine ready for the course? Says in words what is missing and how to mend it."""

import os
import shutil
import sys
from importlib import metadata

import psutil
import torch
from packaging.requirements import Requirement

from lrcourse.evidence import measured

__all__ = ["device", "problems", "report"]

MEMORY, DISK = 2.0, 1.0  # GiB that a chapter needs at most, with room to spare


def device() -> torch.device:
    """The best device that PyTorch sees here: an NVIDIA GPU, an Apple GPU, else the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda")
    if torch.backends.mps.is_available():
        return torch.device("mps")
    return torch.device("cpu")


def problems() -> list[str]:
    """What stands in the way, one sentence each with its mend; empty when all is well."""
    try:
        needs = [Requirement(text) for text in metadata.requires("lrcourse") or []]
        python = metadata.metadata("lrcourse")["Requires-Python"]
    except metadata.PackageNotFoundError:
        return [
            "The package lrcourse is not installed in the Python that runs this notebook "
            f"({sys.executable}). Start the course with: python3 course.py lab"
        ]
    found = []
    version = sys.version.split()[0]
    if not Requirement(f"python{python}").specifier.contains(version, prereleases=True):
        found.append(
            f"Python must be {python}, this is {version}. Install one of those, then start anew."
        )
    for need in needs:
        if need.marker is not None and not need.marker.evaluate({"extra": ""}):
            continue
        try:
            has = metadata.version(need.name)
        except metadata.PackageNotFoundError:
            found.append(f"The package {need.name} is missing. Run: python3 course.py lab")
            continue
        if not need.specifier.contains(has, prereleases=True):
            found.append(
                f"{need.name} must be {need.specifier}, found {has}. "
                "Delete the folder .venv, then run: python3 course.py lab"
            )
    memory = psutil.virtual_memory().available / 2**30
    if memory < MEMORY:
        found.append(
            f"Only {memory:.1f} GiB of memory are free, a chapter may need {MEMORY:g}. "
            "Close other programs and notebooks."
        )
    disk = shutil.disk_usage(".").free / 2**30
    if disk < DISK:
        found.append(f"Only {disk:.1f} GiB of disk are free, {DISK:g} are needed. Make room.")
    return found


def report() -> None:
    """Print what the course found on this machine, and each problem with its mend."""
    memory = psutil.virtual_memory()
    print("Python and packages ", measured(python=sys.version.split()[0], torch=torch.__version__))
    print("Cores and memory    ", measured(cores=os.cpu_count(), GiB=memory.total / 2**30))
    print("Device for training ", measured(device=device().type))
    for problem in problems():
        print(f"✘ {problem}")
    if not problems():
        print("✔ This machine is ready.")
