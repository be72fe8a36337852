"""What networks of different rates read in the same digits: the first picture of the course."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike

from lrcourse.plots import NO_LAYOUT, Picture, picture

__all__ = ["readings"]


def readings(
    images: ArrayLike,
    truth: ArrayLike,
    answers: Mapping[str, ArrayLike],
    *,
    alt: str,
    title: str = "",
) -> Picture:
    """What models read in images: the images in a row, answers below, wrong ones boxed.

    Args:
        images: shape (count, height, width), darker where the value is higher.
        truth: the right labels, shape (count,).
        answers: name of the model → its labels, shape (count,).
        alt: what the figure shows, in words.
        title: the message of the figure.
    """
    inked, right = np.asarray(images, dtype=float), np.asarray(truth)
    high = 0.95 + 0.45 * len(answers)  # inches, without the title
    with picture(alt, title, high, **NO_LAYOUT) as made:
        share = 0.96 * high / made.figure.get_figheight()
        axes = made.figure.add_axes((0.18, 0.02, 0.81, share))
        axes.set_axis_off()
        axes.set_xlim(-0.5, len(inked) - 0.5)
        axes.set_ylim(-len(answers) - 0.1, 1.05)
        for i, image in enumerate(inked):
            extent = (i - 0.42, i + 0.42, 0.05, 1.0)
            axes.imshow(image, cmap="Greys", extent=extent, aspect="auto", interpolation="nearest")
        for row, (name, labels) in enumerate(answers.items()):
            axes.text(-0.6, -row - 0.5, name, ha="right", va="center", fontsize=13)
            for i, label in enumerate(np.asarray(labels)):
                wrong = label != right[i]
                box = {"boxstyle": "square,pad=0.25", "fc": "#F6C9A8", "ec": "#A03C00", "lw": 1.5}
                axes.text(
                    i, -row - 0.5, f"{label}", ha="center", va="center", fontsize=14,
                    fontweight="bold" if wrong else "normal", bbox=box if wrong else None,
                )  # fmt: skip
    return made
