"""What the recordings found, under the questions that people ask: docs/findings.md.

    python -m tools.findings

writes it and a forest plot an experiment under docs/findings. A test refuses a page that is not
what the recordings say.
"""

from collections.abc import Callable, Mapping
from typing import Any

from lrcourse import plots
from lrcourse.evidence import Finding
from lrcourse.experiments.declared import Contrast
from lrcourse.experiments.questions import EXPERIMENTS
from lrcourse.experiments.recordings import FOLDER, Recording, read_recording
from lrcourse.files import ROOT, write_whole
from tools.record.comparison import leaders, per_cent

__all__ = [
    "ANSWERS",
    "FINDINGS",
    "FORESTS",
    "draw_forest",
    "findings_page",
    "latest",
    "write_findings",
]

FINDINGS = ROOT / "docs" / "findings.md"
FORESTS = ROOT / "docs" / "findings"

_HEAD = (
    "# What the course found\n\n"
    "**How to read it.** Each section is a question that people ask, with its answer, a "
    "figure and a table. A row of the table compares two schedules: *A instead of B* is what "
    "it costs to train with A instead of B, in per cent of the loss on the test text, so plus "
    "means that A is worse. The 95 % interval is Student's, over the seeds. A *seed* fixes a "
    "run's first weights and the order of its text; both schedules of a row are trained with "
    "the same seeds. An *update* is one step of the optimizer, and a *batch* is how many "
    "windows of text it looks at. The *peak* is the largest rate of a run.\n\n"
    "**How it was done.** Everything that could be chosen to fit a result was declared before "
    "the run: who is compared, which peaks are tried, how many seeds judge, how large a "
    "difference must be to matter. Each schedule gets its own best peak, tuned on a few seeds "
    "by the loss on validation text; a best peak at the end of what was tried is refused. "
    "Then all are trained with other seeds and judged by the loss on test text.\n\n"
    "Two things came after the runs: the comparisons of shapes were read once and then chosen "
    "anew, with a second exponential, and run again (rows that were added later are named below); "
    "and the answers in words were written to what was found. A test keeps them to it.\n\n"
    "**What the verdicts mean.** They are computed from the interval and the margin, which is "
    "half a per cent. *Higher*: the interval lies above zero, so A is worse than B. *Lower*: "
    "below zero, so A is better. *… by less than matters*: that too, but the whole interval "
    "lies within the margin. *No difference that matters*: the interval holds zero and lies "
    "within the margin. *Not settled*: all else, these runs are too few to tell. A difference "
    "can be sure and small, so look at its size as well. With over two hundred rows, some "
    "intervals will miss the truth by chance; where a lowest schedule is named among several, "
    "that is corrected for (Holm's method, 1979).\n\n"
    "**How far it reaches.** All models are small, because everything here can be run again "
    "on a laptop, and all learn from one text, the source of sympy, byte by byte (and one goes on "
    "with English). What larger models do is said where a paper says it. "
    "`python -m tools.record show NAME` prints the tuning behind a section, `run NAME` "
    "makes it anew, and `recheck` repeats a part of it, as the course's own tests do. "
    "The [list of all claims](claims.md) that the "
    "chapters run is an appendix to this page. [Open questions](open_questions.md) are what nobody "
    "has recorded yet.\n"
)


def _said(found: Mapping[str, Finding], verdict: str, *names: str) -> bool:
    """Whether all findings whose question holds one of the names have this verdict."""
    asked = [one for one in found.values() if any(name in one.asks for name in names)]
    return bool(asked) and all(one.verdict == verdict for one in asked)


def _nats(found: Mapping[str, Finding], asks: str) -> float:
    difference = found[asks].nats
    assert difference is not None  # recordings give both units
    return difference.mean


_LONGER = "constant instead of linear: width 18, 2479 updates, less width 18, 426 updates"
_LARGER = "constant instead of linear: width 48, 2479 updates, less width 18, 2479 updates"

# What a section answers, in words, and when that is what was found: made false by a new recording,
# it stops the page.
ANSWERS: dict[str, tuple[str, Callable[[Mapping[str, Finding]], bool]]] = {
    "growth": (
        "A straight line to zero beats a constant rate at every size and length tried, and by "
        "more, the longer the training. Length does it: in nats the larger models gain hardly "
        "more than the small one does at the same length; in per cent they do, because their loss "
        "is smaller.",
        lambda f: (
            _said(f, "higher", "constant instead of linear, width")
            and f[_LONGER].verdict == "higher"
            and _nats(f, _LARGER) < 0.2 * _nats(f, _LONGER)
        ),
    ),
    "horizon": (
        "A cosine planned for a quarter more than the run does no harm. One planned for twice the "
        "run costs more than matters, and five times the run costs more still. (A cosine that is "
        "a little too long ends above its floor, so this is also the question of the floor.)",
        lambda f: (
            f["1.25× instead of 1×"].verdict == "lower, by less than matters"
            and f["2× instead of 1×"].verdict == f["5× instead of 1×"].verdict == "higher"
            and f["5× instead of 1×"].difference.mean > f["2× instead of 1×"].difference.mean
        ),
    ),
    "extending": (
        "Raise the rate again and let it fall anew, the sooner the better. Decided at the middle "
        "of the old plan, nothing is lost that these runs can tell; decided at its end, about one "
        "per cent. To the peak or to half of it does not differ by what matters. A changed T_max "
        "costs more, the later it is changed, and a T_max left as it was costs most of all. A "
        "cosine that is stopped half way, at the peak of the plan that fits, cannot be told from "
        "that plan; brought down in a line over the last fifth it ends lower than both.",
        lambda f: (
            _said(f, "higher", "not told", "T_max set", "raised at 900", "raised at 1000 instead")
            and f["too long instead of fitting, stopped at 1000"].verdict == "not settled"
            and _said(f, "lower", "too long, 20 % down")
            and f["raised at 500 instead of planned"].verdict == "not settled"
            and f["raised at 1000 to half instead of to the peak"].verdict
            == "no difference that matters"
            and f["T_max set at 900 instead of planned"].difference.interval[0]
            > f["T_max set at 500 instead of planned"].difference.interval[1]
            and f["not told instead of planned"].difference.interval[0]
            > f["T_max set at 900 instead of planned"].difference.interval[1]
        ),
    ),
    "cooldown": (
        "A constant rate with a straight cooldown to zero over 10 % of the run or more ends lower "
        "than a cosine to zero; over 5 % the two do not differ by what matters. The shape 1 − √ "
        "does no better than a straight line here, where the paper found a small gain.",
        lambda f: (
            _said(f, "lower", "10 % instead", "20 % instead of cosine", "40 %", "70 %")
            and f["5 % instead of cosine"].verdict == "no difference that matters"
            and f["20 %, 1 − √ instead of 20 %"].verdict == "no difference that matters"
        ),
    ),
    "branches": (
        "At one peak for all, the best of the longest, each branch ends below a cosine that was "
        "tuned for its length. Below a straight line, tuned so too, it ends at 1000 and 2000 "
        "updates; at 500 they do not differ by what matters. The shared peak costs half a per "
        "cent at a quarter of the longest length, and nothing that matters at half of it. A "
        "finished run goes on best when its rate is raised to the peak and comes down in a line: "
        "then it ends level with a cosine planned for all. To a quarter, or held at a tenth, it "
        "ends over one and over two per cent higher. Against the trunk it depends on the trunk's "
        "peak: at the finished run's, which is too high for it, the trunk ends higher after as "
        "many new updates, and lower after the 200 more that make up for its first cooldown; at "
        "its own it ends 1.3 % lower.",
        lambda f: (
            _said(f, "lower", "instead of cosine", "line, 1000", "line, 2000")
            and f["branch instead of line, 500 updates"].verdict == "no difference that matters"
            and f["shared peak instead of the branch's own, 500 updates"].verdict == "higher"
            and 0.4
            < f["shared peak instead of the branch's own, 500 updates"].difference.mean
            < 0.6
            and f["shared peak instead of the branch's own, 1000 updates"].verdict
            == "no difference that matters"
            and f["to the peak instead of a cosine planned for all"].verdict
            == "no difference that matters"
            and f["to the peak instead of to a quarter"].difference.interval[1] < -1
            and f["to the peak instead of held"].difference.interval[1] < -2
            and f["to the peak instead of held, then to zero"].difference.interval[1] < -2
            and f["to the peak instead of the trunk with as many new updates"].verdict == "lower"
            and _said(
                f, "higher", "to the peak instead of back", "zero to the peak instead of back"
            )
            and 1.2 < f["to the peak instead of the trunk at its own peak"].difference.mean < 1.4
        ),
    ),
    "floor": (
        "To zero, and the longer the training, the more it gains. At 20 tokens a parameter a tenth "
        "is ahead, by less than matters; at 80 and at 200 zero is. The paper, with far larger "
        "models, finds zero ahead from 20 tokens a parameter on.",
        lambda f: (
            f["a tenth instead of zero: 200 tokens a parameter, less 20 tokens a parameter"].verdict
            == "higher"
            and f["to a tenth instead of to zero, 20 tokens a parameter"].verdict
            == "lower, by less than matters"
            and _said(f, "higher", "zero, 80 tokens", "zero, 200 tokens")
        ),
    ),
    "cycles": (
        "No cycle and no restart ends below a schedule that falls once. Cycles with Smith's base "
        "of a quarter do end lower than a constant rate. (The first edition gave them a base of a "
        "25th, and saw no gain.) One-cycle, which falls once, comes closest to the straight line.",
        lambda f: (
            _said(f, "higher", "triangular, base 1/4 instead of linear", "restarts")
            and _said(f, "higher", "triangular, base 1/3", "triangular2")
            and _said(f, "lower", "instead of constant")
        ),
    ),
    "speed": (
        "In about a quarter fewer than a rate that is cut at 50 and 75 % needs, not in an eighth. "
        "A straight line, which has the fall without the rise, needs no more. With SGD a momentum "
        "that moves gains about half a per cent; its best peak is a quarter to two thirds larger "
        "there, and its lower momentum at the top alone would make it half as large again.",
        lambda f: (
            _said(f, "higher", *(f"one-cycle in {n} updates instead" for n in (150, 300, 600)))
            and _said(f, "lower", "one-cycle in 1200 updates", "linear in 1200 updates")
            and _said(f, "lower", *(f"momentum stays, {n} updates" for n in (150, 300, 600, 900)))
            and all("lower" not in f[ask].verdict for ask in f if "instead of linear" in ask)
        ),
    ),
    "plateau": (
        "With a clean metric the plateau scheduler ends lower than a constant rate and no lower "
        "than a straight line to zero: higher at PyTorch's defaults, and not to be told from it "
        "when it halves the rate after three bad values. A noisy metric spoils both. Against it a "
        "lower factor makes things worse, and a patience of ten with a factor of a half mends "
        "nearly all, for a twentieth more text to read; the clean metric reads more text than the "
        "run learns from. Where the run turns out three times as long as planned, listening ends "
        "lower than the plan, and than a decay that needs no length.",
        lambda f: (
            _said(f, "higher", "constant instead", "defaults, clean instead", "instead of defaults")
            and _said(f, "higher", "tenth after 3", "instead of half after 3, clean")
            and _said(f, "lower", "half after 10, noisy instead of half", "third", "inverse time")
            and all(
                f[f"{name}, noisy instead of linear"].verdict == "higher"
                for name in ("defaults", "half after 3", "half after 10")
            )
            and f["half after 3, clean instead of linear"].verdict == "not settled"
        ),
    ),
    "optimizers": (
        "Yes: with each of them a constant rate ends higher than a straight line to zero, by more "
        "than matters. Stock RMSprop gains least from the decay and SGD most, but an adaptive "
        "optimizer does not replace it.",
        lambda f: (
            _said(f, "higher", "constant instead of linear")
            and f["constant instead of linear, RMSprop"].difference.mean
            < f["constant instead of linear, Adam"].difference.mean
            < f["constant instead of linear, SGD"].difference.mean
        ),
    ),
    "warmup": (
        "With AdamW a warmup over a tenth of the run ends lower than none, by 1.9 % with batches "
        "of 16 and 0.8 % with batches of 256. With SGD no length ends lower, with large batches "
        "as little as with small ones. Without a mean of gradients (β₁ = 0) AdamW gains less, and "
        "still over half as much. What a warmup widens is the range of peaks that survive.",
        lambda f: (
            _said(f, "higher", "10 %, AdamW, batch")
            and f["without instead of 10 %, AdamW with β₁ = 0, batch 16"].difference.interval[1]
            < f["without instead of 10 %, AdamW, batch 16"].difference.interval[0]
            and f["without instead of 10 %, AdamW with β₁ = 0, batch 16"].difference.mean
            > f["without instead of 10 %, AdamW, batch 16"].difference.mean / 2
            and not any("SGD" in name and one.verdict == "higher" for name, one in f.items())
        ),
    ),
    "warmup-length": (
        "Rather a number: with AdamW in small batches 60 updates end lower than none in a run of "
        "150 and in one of 2400, lower than a tenth of the shorter run, and level with a tenth of "
        "the longer one.",
        lambda f: (
            _said(f, "higher", "without instead of 60", "10 % instead of 60 updates, a run of 150")
            and f["10 % instead of 60 updates, a run of 2400"].verdict
            == "no difference that matters"
        ),
    ),
    "scaled-rate": (
        "Yes, a little: with SGD in batches of 256, at 16 times the best rate of batches of 16, "
        "leaving out the warmup costs 0.8 %. At 32 times, the factor of the paper, some runs "
        "without one diverged, so that no mean could be compared.",
        lambda f: (
            f["without instead of 10 %"].verdict == "higher"
            and 0.6 < f["without instead of 10 %"].difference.mean < 1
        ),
    ),
    "fine-tuning": (
        "About half of pretraining's peak, for the new text alone: 5e-5, the Trainer's default, "
        "ends 14 % above it in this small model, and a tenth of pretraining's peak 2.4 %, though "
        "that forgets far less of the old text. Come down to zero; a warmup makes no difference "
        "that matters, and a cosine ends above the line by less than matters. The cooled "
        "checkpoint is the better one to begin with. LoRA ends higher at each rank, from 2 % at "
        "rank 16 to 12 % at rank 1, where the paper, with far larger models, saw no loss.",
        lambda f: (
            _said(f, "higher", "constant instead", "plateau", "5e-5", "a tenth", "LoRA", "nothing")
            and f["warmup, linear instead of linear"].verdict == "no difference that matters"
            and f["cosine instead of linear"].verdict == "higher, by less than matters"
            and 13.5 < f["at 5e-5 instead of all weights, linear"].difference.mean < 14.5
            and f["LoRA, rank 16 instead of all weights, linear"].difference.mean < 2.5
            and f["LoRA, rank 1 instead of all weights, linear"].difference.mean > 11.5
        ),
    ),
    "averages": (
        "For most of it. With PyTorch's weight decay of 0.01 the mean of the last half of the "
        "weights, at a constant rate, ends lower than a straight line to zero. But with 0.1 in "
        "both it ends higher, and this line is the lowest of all. With 0.01 the mean of the last "
        "fifth cannot be told from the line. Schedule-free, without a weight decay, cannot either "
        "with a β of 0.5; at its default of 0.9 it ends higher, and at 0.98 higher still.",
        lambda f: (
            f["mean of the last 50 % instead of linear"].verdict == "lower"
            and f["mean of the last 50 % instead of linear, both with weight decay 0.1"].verdict
            == "higher"
            and f[
                "mean of the last 50 % instead of linear, both with weight decay 0.1"
            ].difference.mean
            < f["AdamW, constant instead of linear"].difference.mean / 2
            and f["weight decay 0.1 instead of 0.01, both linear"].verdict == "lower"
            and f["weight decay 0.1 instead of 0.01, both linear"].difference.mean
            == min(one.difference.mean for one in f.values())
            and _said(f, "not settled", "mean of the last 20 %", "β 0.5")
            and _said(f, "higher", "β 0.9", "constant instead")  # 0.98 too
            and f["schedule-free, β 0.98 instead of linear"].difference.mean
            > f["schedule-free, β 0.9 instead of linear"].difference.mean
        ),
    ),
    "muon": (
        "In as many updates Muon ends lower than AdamW with each schedule, by 3 to 5 %. An update "
        "of it takes nearly twice as long on a CPU, though, and in the same time it ends higher. "
        "It needs a decay, and gains twice as much by it as AdamW does. A warmup changes "
        "little: without one Muon ends lower, and AdamW higher.",
        lambda f: (
            _said(f, "lower", "Muon instead of AdamW, constant", "Muon instead of AdamW, linear")
            and _said(f, "lower", "AdamW, warmup, linear", "warmup, linear, Muon")
            and _said(f, "higher", "in the same time", "constant instead", "warmup, linear, AdamW")
            and f["constant instead of linear, Muon"].difference.mean
            > 1.8 * f["constant instead of linear, AdamW"].difference.mean
        ),
    ),
    "weight-decay": (
        "Not in these runs. Text that was read six times did best with a decay of 0.4, at a rate "
        "of 0.003 as at one of 0.012, so the decay that would keep the product, a quarter as large "
        "at the larger rate, ends higher there. New text wants little at both rates: 0.025 and 0.1 "
        "do not differ by what matters, and 0.4 costs far more. How often the text is read moves "
        "the best decay. The paper found that the product should stay.",
        lambda f: (
            _said(f, "lower", "decay 0.4 instead of 0.1, six epochs")
            and _said(f, "higher", "decay 0 instead of 0.1, six", "decay 0.025 instead of 0.1, six")
            and all(
                f[f"decay 0.4 instead of 0.1, {where}"].difference.interval[1]
                < f[f"decay 1.6 instead of 0.1, {where}"].difference.interval[0]
                for where in ("six epochs, rate 0.003", "six epochs, rate 0.012")
            )
            and _said(f, "higher", "decay 0.4 instead of 0.1, new", "decay 1.6 instead of 0.1, new")
            and all(
                max(map(abs, f[f"decay 0.025 instead of 0.1, {where}"].difference.interval)) < 0.5
                for where in ("new text, rate 0.003", "new text, rate 0.012")
            )
        ),
    ),
    "cuts": (
        "Between 70 and 90 % of the run, if there is to be one cut. At 30 or 50 % it comes too "
        "early and at 95 % too late, each by more than matters; three smaller cuts cannot be told "
        "from the one at 80 %. A straight line to zero ends lower than that. At the rate that "
        "suits a constant run the cut gains, too, but less than with a peak of its own.",
        lambda f: (
            _said(f, "higher", "30 %", "at 50 % instead", "95 %", "constant instead", "of linear")
            and f["at 80 % instead of constant, both at a rate of 0.005"].verdict == "lower"
            and -f["at 80 % instead of constant, both at a rate of 0.005"].difference.interval[0]
            < f["constant instead of at 80 %"].difference.interval[0]
            and f["at 90 % instead of at 80 %"].verdict == "no difference that matters"
            and _said(f, "not settled", "at 70 %", "at 50, 75")
        ),
    ),
    "stopping": (
        "Hardly, where the peak was tuned for the end of the run, as here: at such peaks there is "
        "little left to stop. Constant rate and straight line, both stopped early, do not differ "
        "by what matters. From a peak of 0.01, ten times the line's best, both overfit: the line "
        "ends a fifth above its own best moment and the constant rate still higher, so a falling "
        "rate does not prevent overfitting. The lower peak helps more.",
        lambda f: (
            all(
                f[f"{name} to its end instead of stopped early"].verdict
                == "higher, by less than matters"
                for name in ("constant", "linear")
            )
            and _said(f, "higher", "from 0.01")
            and f["constant instead of linear, both stopped early"].verdict
            == "no difference that matters"
        ),
    ),
    "schedules": (
        "Any that falls: each of the six ends lower than a constant rate, by more than matters. "
        "Of those, a constant rate with a cooldown over the last fifth (wsd) and a straight line "
        "end lower than a cosine to zero. The paper found cooldown and cosine to match.",
        lambda f: _said(f, "higher", "constant instead", "cosine instead"),
    ),
    "norms": (
        "Both kinds gain by one here, each tuned by itself, and Post-LN gains over twice as much. "
        "That Pre-LN does without, as the paper says of its models, is not seen: what it loses is "
        "small, and more than the margin.",
        lambda f: (
            _said(f, "higher", "without warmup")
            and f["without warmup instead of with warmup, Post-LN"].difference.mean
            > 2 * f["without warmup instead of with warmup, Pre-LN"].difference.mean
        ),
    ),
    "qk-norm": (
        "More than a per cent, each tuned by itself. The paper's gain, a wider range of rates, is "
        "seen only in the runs that tuned the peaks: at the largest peak tried it is ahead, on "
        "two seeds. A run whose peak is tuned gains nothing by it here.",
        lambda f: _said(f, "higher", "qk-norm instead of none"),
    ),
    "moving": (
        "Near the old peak times the ratio of the two sums of rates, or of the best peaks of a "
        "convex bound. After a constant rate the bound's ratio loses nothing that matters and "
        "equal sums half a per cent; after one cut at 80 % the bound's peak costs as much, and "
        "what equal sums cost is not settled. Set against each other, the bound ends lower "
        "the first time, and the second is not settled. Keeping a constant rate's peak for the "
        "line costs over three per cent.",
        lambda f: (
            f["constant's peak instead of tuned"].verdict == "higher"
            and f["constant's peak instead of tuned"].difference.mean > 3
            and f["constant's bound instead of tuned"].verdict == "no difference that matters"
            and _said(f, "higher", "constant's sum instead", "the cut's bound instead of tuned")
            and f["the cut's sum instead of tuned"].verdict == "not settled"
            and f["constant's bound instead of constant's sum"].verdict == "lower"
            and f["the cut's bound instead of the cut's sum"].difference.mean > 0
        ),
    ),
    "batch": (
        "With SGD in proportion to the batch: carried so from batches of 16, the peak loses "
        "nothing that these runs can tell in batches of 32, 64 and 256, and kept as it is it "
        "costs one, over three and fifteen per cent. With AdamW by the root of the batch: that "
        "loses nothing that matters in batches of 64 and 256, where in proportion costs over "
        "one per cent and then nearly twenty, and the kept peak about two and over five. All "
        "runs read the same samples, so a larger batch makes fewer updates.",
        lambda f: (
            _said(
                f,
                "not settled",
                *(f"in proportion instead of tuned, SGD, batch {b}" for b in (32, 64, 256)),
            )
            and _said(f, "higher", "kept instead of tuned")
            and _said(
                f,
                "no difference that matters",
                "root instead of tuned, AdamW, batch 64",
                "root instead of tuned, AdamW, batch 256",
            )
            and _said(
                f,
                "higher",
                "in proportion instead of tuned, AdamW, batch 64",
                "in proportion instead of tuned, AdamW, batch 256",
            )
        ),
    ),
    "length": (
        "Keep it, for a line to zero with AdamW's usual β₂ = 0.999: the peak of 250 updates loses "
        "nothing that these runs can tell over 500 to 4000, and lowered by the root of the length "
        "it costs up to three per cent. With β₂ = 0.95 it is the other way round: over 4000 "
        "updates the kept peak costs three per cent, the lowered one little. A constant rate costs "
        "more, the longer the run is, with either.",
        lambda f: (
            not any(
                one.verdict == "higher"
                for one in f.values()
                if one.asks.startswith("kept") and "0.999" in one.asks
            )
            and _said(
                f,
                "higher",
                *(f"root instead of tuned, {n} updates, β₂ = 0.999" for n in (500, 1000, 4000)),
            )
            and f["kept instead of tuned, 4000 updates, β₂ = 0.95"].difference.mean > 2.5
            and f["root instead of tuned, 4000 updates, β₂ = 0.95"].difference.mean < 1
            and _said(
                f, "higher", *(f"constant instead of line, {n} updates" for n in (500, 1000, 4000))
            )
        ),
    ),
    "width": (
        "As PyTorch has it, a lower one, though by less than in proportion: kept from width "
        "32 the peak costs about two per cent at width 128 and seven at 512, and divided by "
        "the growth of the width it costs more than that. In the maximal update "
        "parametrization the best peak does not fall but rises a little; kept, it costs a "
        "third to a half as much, and the tuned models end two to four per cent lower than "
        "PyTorch's own.",
        lambda f: (
            _said(f, "higher", "kept instead", "divided instead")
            and all(
                f[f"divided instead of tuned, standard, width {n}"].difference.mean
                > f[f"kept instead of tuned, standard, width {n}"].difference.mean
                > f[f"kept instead of tuned, muP, width {n}"].difference.mean
                for n in (128, 512)
            )
            and _said(f, "lower", "muP instead of standard")
        ),
    ),
    "proxy": (
        "Yes, here: the best peak of a line over 2500 updates, kept for one over 20 000, "
        "loses nothing that these runs can tell against the peak tuned at full length. "
        "Lowered by a power of the length it loses more, and a peak four times too large "
        "costs over fifteen per cent. A wsd with its own peak ends about one per cent above "
        "the line, a constant rate four.",
        lambda f: (
            f["kept instead of tuned, 20000 updates"].verdict == "not settled"
            and f["kept instead of tuned, 20000 updates"].difference.mean < 0
            and _said(f, "higher", "eighth to the 0.3", "root", "a quarter", "wsd", "constant")
            and f["four times instead of tuned, 20000 updates"].difference.mean > 15
        ),
    ),
    "shapes": (
        "A straight line to zero, by a little. The cosine and an exponential to a tenth end "
        "higher at both lengths and both batches; an exponential to a hundredth, which has left "
        "most of its way by the middle of the run, costs far more. A constant rate costs more the "
        "longer the run is and the larger the batch; in the shortest run of small batches it "
        "cannot be told from the line, and there a line to a tenth ends lower than one to zero.",
        lambda f: (
            _said(f, "higher", "cosine instead", "exponential to")
            and f["constant instead of linear, 500 updates of 32"].verdict == "not settled"
            and _said(f, "lower", "line to a tenth instead of linear, 500 updates of 32")
            and _said(f, "higher", "linear, 500 updates of 128", "linear, 2000")
        ),
    ),
}


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
    lines = [f"## {about['asks']}", "", _answer(name, recording), ""]
    lines += [f"![{_alt(recording)}](findings/{name}.png)", ""]
    lines += ["| compared | costs | 95 % interval | in nats | seeds | verdict |"]
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
        lines += [f"- **Tried:** {experiment.tried} {beyond}"]
    if about["source"]:
        lines += [f"- **Papers:** {about['source']}."]
    link = f"[chapter {experiment.chapter:02}](../notebooks/{chapter.name})"
    lines += [f"- **Told in** {link}; {recording.caption}."]
    return "\n".join(lines) + "\n"


def _setting(parts: Mapping[str, Any]) -> str:
    """Model, optimizer, length and batch of all parts, in words."""
    declared = [part["declared"] for part in parts.values()]
    models = [d["model"] for d in declared]
    if "layers" in models[0]:
        blocks, widths = (
            ", ".join(map(str, sorted({m[k] for m in models}))) for k in ("layers", "width")
        )
        context = models[0]["context"]
        model = f"Transformer on bytes, blocks: {blocks}, width: {widths}, context: {context}"
    else:
        hidden = sorted({m["hidden"] for m in models if m})
        layers = (
            f"two hidden layers ({', '.join(map(str, hidden))} wide)"
            if hidden
            else "one hidden layer"
        )
        model = f"network of {layers} that guesses the next character from eight"
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
    sooner = "the second is as low as the first ends with so many of its updates still to come"
    text = f"- **Sooner**, where the curves are fine enough to tell: {sooner}: {'; '.join(told)}."
    return [text] if told else []


def _winners(recording: Recording) -> list[str]:
    """Of each part the lowest schedule, and how far it is ahead."""
    lines = []
    for title in recording.about["parts"]:
        ends = recording.ends(title).dropna()
        if ends.shape[1] > 2:
            first, *others = leaders(ends)
            where = f" ({title})" if len(recording.about["parts"]) > 1 else ""
            second = ends.drop(columns=first).mean().idxmin()
            ahead = per_cent(ends, str(second), first).mean
            tied = f"cannot be told from it: {', '.join(others)}" if others else "told from all"
            lines.append(f"- **Lowest{where}:** {first}, {ahead:.2f} % ahead of {second}; {tied}.")
    return lines


def _answer(name: str, recording: Recording) -> str:
    """The answer in words, which stands only while what was found is as it says.

    Raises:
        ValueError: it is not.
    """
    sentence, holds = ANSWERS[name]
    if not holds({found.asks: found for found in recording.findings()}):
        raise ValueError(f"the recording {name} does not say any more: {sentence}")
    return sentence


def _alt(recording: Recording) -> str:
    """What the figure shows, in words."""
    found = [f"{f.asks} {f.difference.mean:+.2f} %, {f.verdict}" for f in recording.findings()]
    return "Effects with 95 % intervals: " + "; ".join(found) + "."


def draw_forest(recording: Recording) -> plots.Picture:
    """The forest plot of a recording."""
    found: dict[str, Finding] = {one.asks: one for one in recording.findings()}
    label = (
        "what the first costs instead of the second, % of the test loss\n"
        "(right: worse; grey: too little to matter; open point: not settled)"
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
