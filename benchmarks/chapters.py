"""What each chapter costs: seconds, and the peak memory of its kernel.

    python benchmarks/chapters.py [NN ...]

Memory is what the kernel and all processes it starts hold in RAM, looked at twenty times a second.
The status is 1 when a chapter is over its budget, so that it cannot grow unnoticed.
"""

import sys
import threading
import time

import nbformat
import psutil

from tools import notebooks

SECONDS, GIGABYTES = 90, 1.2  # what a chapter may take on two cores


class Peak(threading.Thread):
    """Watches the memory of all processes that this one has started."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.bytes, self.done = 0, threading.Event()

    def run(self) -> None:
        while not self.done.wait(0.05):
            total = 0
            for process in psutil.Process().children(recursive=True):
                try:
                    total += process.memory_info().rss
                except psutil.Error:  # ended between the two lines
                    continue
            self.bytes = max(self.bytes, total)


def main(numbers: list[str]) -> int:
    over = 0
    print(f"{'chapter':<32} {'seconds':>8} {'GB':>6}")
    for source in notebooks.chapters(numbers):
        path = notebooks.notebook_of(source)
        peak, start = Peak(), time.monotonic()
        peak.start()
        notebooks.execute(nbformat.read(path, 4), path.stem, cwd=path.parent)
        seconds, gigabytes = time.monotonic() - start, peak.bytes / 1e9
        peak.done.set()
        bad = seconds > SECONDS or gigabytes > GIGABYTES
        over += bad
        note = f"  over {SECONDS} s or {GIGABYTES} GB" if bad else ""
        print(f"{path.stem:<32} {seconds:8.1f} {gigabytes:6.2f}{note}", flush=True)
    return 1 if over else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
