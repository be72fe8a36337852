"""What the recordings found, under the questions that people ask: docs/findings.md.

    python -m tools.findings

writes it and a forest plot an experiment under docs/findings. A test refuses a page that is not
what the recordings say.
"""

from collections.abc import Mapping
from typing import Any

from lrcourse import plots
from lrcourse.comparison import leaders
from lrcourse.evidence import VERDICTS, Finding
from lrcourse.experiments.declared import Contrast
from lrcourse.experiments.questions import EXPERIMENTS
from lrcourse.experiments.recordings import FOLDER, Recording, read_recording
from lrcourse.files import ROOT, write_whole

__all__ = ["FINDINGS", "FORESTS", "draw_forest", "findings_page", "latest", "write_findings"]

FINDINGS = ROOT / "docs" / "findings.md"
FORESTS = ROOT / "docs" / "findings"

_HEAD = (
    "# What the course found\n\n"
    "Each line below is a comparison that was declared before it was run: who is compared, "
    "which peak rates are tried, how many seeds judge, how large a difference must be to "
    "matter. Each schedule gets its own best peak, tuned on a few seeds by the loss on "
    "validation text. Then all are trained with other seeds, the same ones for each, and "
    "judged by the loss on test text. The figure is by how many per cent of the test loss the "
    "first ends **above** the second, so that plus means worse, with Student's 95 % interval "
    "over the seeds.\n\n"
    "The verdict is computed from the interval and the margin. An interval wholly on one side "
    "of zero says *higher* or *lower*, with *by less than matters* where it also lies wholly "
    "within the margin. An interval around zero and within the margin says *no difference "
    "that matters*. Any other says *not settled*: these runs are too few to tell. No "
    "correction is made for the number of lines on this page. Where a best schedule is named, "
    "it is (Holm, 1979): it stands alone only if it can be told from every other.\n\n"
    "All models are small, because everything here can be run again on a laptop, and all "
    "learn from the same text, the source of sympy. What larger models do is said where a "
    "paper says it. `python -m lrcourse.experiments show NAME` prints the tuning grid behind "
    "a section, `run NAME` makes it anew, and `recheck` repeats a part of it: CI does. The "
    "[list of all claims](claims.md) that the chapters run is an appendix to this page.\n"
)


def latest() -> dict[str, Recording]:
    """The recordings that there are, by experiment: the GPU's where it has one."""
    stems = {path.stem.rsplit("-", 1)[0] for path in FOLDER.glob("*.parquet")}
    return {name: read_recording(name) for name in EXPERIMENTS if name in stems}


def findings_page() -> str:
    """The text of the page, from the recordings."""
    parts = [_HEAD]
    for name, recording in latest().items():
        if recording.about["contrasts"]:
            parts.append(_section(name, recording))
    return "\n".join(parts)


def _section(name: str, recording: Recording) -> str:
    experiment, about = EXPERIMENTS[name], recording.about
    chapter = next((ROOT / "notebooks").glob(f"{experiment.chapter:02}_*.ipynb"))
    verdicts = [found.verdict for found in recording.findings()]
    counts = [f"{verdicts.count(one)} {one}" for one in VERDICTS if one in verdicts]
    lines = [f"## {about['asks']}", "", f"{len(verdicts)} comparisons: {'; '.join(counts)}.", ""]
    lines += [f"![{_alt(recording)}](findings/{name}.png)", ""]
    lines += ["| compared | ends above by | 95 % interval | in nats | seeds | verdict |"]
    lines += ["|---|---|---|---|---|---|"]
    for found in recording.findings():
        low, high = found.difference.interval
        nats = found.nats.mean if found.nats else float("nan")
        lines.append(
            f"| {found.asks} | {found.difference.mean:+.2f} % | {low:+.2f} … {high:+.2f} "
            f"| {nats:+.4f} | {found.difference.n} | {found.verdict} |"
        )
    lines += ["", *_saved(recording), *_winners(recording)]
    matters = f"A difference matters from {about['margin']} % on."
    lines += [f"- **Setting:** {_setting(about['parts'])}. {matters}"]
    if experiment.tried:
        beyond = "Beyond that these runs say nothing."
        lines += [f"- **Tried on** {experiment.tried}. {beyond}"]
    if about["source"]:
        lines += [f"- **Papers:** {about['source']}."]
    link = f"[chapter {experiment.chapter:02}](../notebooks/{chapter.name})"
    lines += [f"- **Told in** {link}; {recording.caption}."]
    return "\n".join(lines) + "\n"


def _setting(parts: Mapping[str, Any]) -> str:
    """Model, optimizer, length and batch of all parts, in words."""
    declared = [part["declared"] for part in parts.values()]
    models = [d["model"] for d in declared]
    if models[0]:
        blocks, widths = (
            ", ".join(map(str, sorted({m[k] for m in models}))) for k in ("layers", "width")
        )
        context = models[0]["context"]
        model = f"Transformer on bytes, blocks: {blocks}, width: {widths}, context: {context}"
    else:
        model = "network of one hidden layer that guesses the next character from eight"
    optimizers = ", ".join(dict.fromkeys(d["optimizer"] for d in declared))
    steps, batches = (
        ", ".join(map(str, sorted({d[k] for d in declared}))) for k in ("steps", "batch")
    )
    return f"{model}; {optimizers}; {steps} updates of {batches} windows"


def _saved(recording: Recording) -> list[str]:
    """How much sooner the better one is where the worse one ends, where the curves tell."""
    told = []
    for contrast in (Contrast(**one) for one in recording.about["contrasts"]):
        if contrast.less or "@" in contrast.a + contrast.b:
            continue
        found = recording.finding(contrast.asks)
        saved = recording.updates_saved(contrast.a, contrast.b)
        if found.verdict == "higher" and saved is not None:
            low, high = saved.interval
            told.append(f"{contrast.asks}: {saved.mean:.0f} % ({low:.0f} … {high:.0f})")
    text = "; ".join(told)
    return (
        [f"- **Updates saved** by the second, at least, read off its curve: {text}."]
        if told
        else []
    )


def _winners(recording: Recording) -> list[str]:
    lines = []
    for title in recording.about["parts"]:
        ends = recording.ends(title).dropna()
        if ends.shape[1] > 2:
            first, *others = leaders(ends)
            where = f" ({title})" if len(recording.about["parts"]) > 1 else ""
            tied = f"; not told from it: {', '.join(others)}" if others else ", alone"
            lines.append(f"- **Lowest{where}:** {first}{tied}.")
    return lines


def _alt(recording: Recording) -> str:
    """What the figure shows, in words."""
    found = [f"{f.asks} {f.difference.mean:+.2f} %, {f.verdict}" for f in recording.findings()]
    return "Effects with 95 % intervals: " + "; ".join(found) + "."


def draw_forest(recording: Recording) -> plots.Picture:
    """The forest plot of a recording."""
    found: dict[str, Finding] = {one.asks: one for one in recording.findings()}
    label = (
        "difference of the test loss at the end, %, with 95 % interval\n"
        "(right of zero: the first ends higher, which is worse)"
    )
    return plots.forest(found, x=label, alt=_alt(recording), title=recording.about["asks"])


def write_findings() -> None:
    """Write the page and its pictures; remove those of what is no longer there."""
    FORESTS.mkdir(exist_ok=True)
    drawn = {f"{n}.png": draw_forest(r).png() for n, r in latest().items() if r.about["contrasts"]}
    for path in FORESTS.glob("*.png"):
        if path.name not in drawn:
            path.unlink()
    for name, image in drawn.items():
        with write_whole(FORESTS / name) as part:
            part.write_bytes(image)
    with write_whole(FINDINGS) as part:
        part.write_text(findings_page(), encoding="utf-8", newline="\n")


if __name__ == "__main__":
    write_findings()
    print(f"wrote {FINDINGS.relative_to(ROOT)}")
