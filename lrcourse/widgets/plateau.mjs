// A scheduler that listens to a noisy metric: when does it cut, and when would a run be stopped?

import { stage, plot, slider, choice, button, show, count, range, normals } from "./stage.mjs"

// -------------------------------------------------------------------------------------- formulas

/** lrcourse.schedules.Plateau, in mode "min" and threshold_mode "rel": hears values, gives the factor. */
export function Plateau({ factor, patience, threshold, cooldown }) {
  const state = { now: 1, best: Infinity, bad: 0, resting: 0 }
  return {
    state,
    update(value) {
      if (value < state.best * (1 - threshold)) Object.assign(state, { best: value, bad: 0 })
      else state.bad += 1
      if (state.resting) Object.assign(state, { resting: state.resting - 1, bad: 0 })
      if (state.bad > patience) Object.assign(state, { now: state.now * factor, resting: cooldown, bad: 0 })
      return state.now
    },
  }
}

/** After how many values early stopping ends the run: when so many in a row were no better; or null. */
export function stop_at(metric, patience, threshold) {
  let [best, bad] = [Infinity, 0]
  for (const [i, value] of metric.entries()) {
    if (value < best * (1 - threshold)) [best, bad] = [value, 0]
    else bad += 1
    if (bad >= patience) return i + 1
  }
  return null
}

/**
 * A metric that falls by 3 % with each evaluation and is flat from evaluation `flat` on, read with an
 * error (× exp(noise · chance)); and what the scheduler makes of it. Cuts do not change the metric:
 * so one can tell a false alarm.
 */
export function listen(settings, chance, flat = FLAT, fall = 0.03) {
  const plateau = Plateau(settings)
  let factor = 1
  return Array.from(chance, (z, i) => {
    const loss = (1 - fall) ** Math.min(i, flat)
    const metric = loss * Math.exp(settings.noise * z)
    const [used, next] = [factor, plateau.update(metric)]
    factor = next
    return { loss, metric, used, cut: next < used, ...plateau.state }
  })
}

// ------------------------------------------------------------------------------------ the widget

const [EVALUATIONS, FLAT] = [160, 80]
const start = { noise: 0.1, patience: 5, threshold: 1e-4, factor: 0.5, cooldown: 0, seed: 0, moment: EVALUATIONS }

/** The run; after which values the rate was cut, too early and rightly; where a run would be stopped. */
function heard(state) {
  const run = listen(state, normals(EVALUATIONS, state.seed))
  const cuts = range(run.length).filter((i) => run[i].cut).map((i) => i + 1)
  const stop = stop_at(run.map(({ metric }) => metric), Math.max(1, state.patience), state.threshold)
  return { run, cuts, stop, early: cuts.filter((at) => at <= FLAT), late: cuts.filter((at) => at > FLAT) }
}

function pictures(state, width) {
  const { run, early, late, stop } = heard(state)
  const t = Math.min(state.moment, EVALUATIONS)
  const now = run[t - 1]
  const along = (key) => run.slice(0, t).map((point, i) => [i + 1, point[key]])
  const x = [0, EVALUATIONS]
  const upTo = (list) => list.filter((at) => at <= t)
  const marks = (pen) => upTo(early).map((at) => pen.down(at, "", "line c2 thin")).join("") + upTo(late).map((at) => pen.down(at)).join("")
  const metric = plot({
    width, height: 290, title: title(state), x, y: [0.01, 2], log: "y", xlabel: "evaluation", ylabel: "loss",
    words: `The measured loss, the true loss and the best value so far over ${EVALUATIONS} evaluations; lines mark the cuts. ${said(state).join(" ")}`,
  }, (pen) => marks(pen) + pen.dots(along("metric"), "c1 faint", 5) + pen.line(along("loss"), "c0") + pen.steps(along("best"), "c3")
    + (stop && stop <= t ? pen.down(stop, "early stopping: the end", "line c4 dash") : "")
    + [["orange lines: cuts too early", "c2"], ["dots: measured", "c1"], ["grey: true loss", "c0"], ["green: best so far", "c3"]].map(([words, looks], i) => pen.note([0, 0.01], words, "start", looks, 8, -8 - 16 * i)).join(""))
  const counter = plot({
    width, height: 290, title: `More than ${count(state.patience, "value")} in a row that are not better make a cut`, x, y: [0, state.patience + 2], xlabel: "evaluation", ylabel: "not better, in a row",
    words: `The number of values in a row that were not better. After ${count(t, "evaluation")} it is ${now.bad}.`,
  }, (pen) => marks(pen) + pen.across(state.patience + 0.5, "patience") + pen.steps(along("bad"), "c1") + pen.dots([[t, now.bad]], "c1", 9))
  return [metric, counter]
}

function title(state) {
  const { early, late } = heard(state)
  const noticed = late.length ? `the plateau is noticed after ${count(late[0] - FLAT, "evaluation")}` : "the plateau is never noticed"
  return `${early.length ? `${count(early.length, "cut")} too early` : "No cut too early"}; ${noticed}`
}

function said(state) {
  const { early, cuts, run, stop } = heard(state)
  return [
    `${title(state)}.`,
    ...(state.noise ? ["That holds for this one draw of the noise: press “Other noise” for another, and see how much of it is luck."] : []),
    `The true loss (grey) falls by 3 % with each evaluation and is flat from ${FLAT} on.`,
    early.length ? "A lucky low value becomes the best so far, and then honest values have to beat luck, so a falling loss looks like a plateau." : "No cut came while it was falling.",
    `After ${count(cuts.length, "cut")} the rate ends at ${show(run.at(-1).now, 2)} of what it was.`,
    stop ? `Early stopping with the same patience would have ended the run after evaluation ${stop}${stop <= FLAT ? ", far too early" : ""}: it acts when the count reaches the patience, the scheduler one value later.` : "Early stopping with the same patience would never have ended the run.",
  ]
}

export default stage({
  name: "a scheduler that listens",
  prompt: () => "Raise the patience until no cut comes too early. How late does it then notice the true plateau?",
  start,
  panels: 2,
  pictures,
  said,
  controls: (state) => [
    slider("noise", "noise: error of the metric", { low: 0, high: 0.5, step: 0.01, said: (v) => `${show(100 * v)} %` }),
    slider("patience", "patience", { low: 0, high: 40, step: 1 }),
    button("seed", "Other noise", ({ seed }) => ({ seed: seed + 1 })),
    slider("threshold", "threshold: lower by", { low: 1e-4, high: 0.3, log: true, said: (v) => `${show(100 * v)} %`, below: true }),
    choice("factor", "A cut multiplies the rate by", [[0.1, "0.1"], [0.32, "0.32"], [0.5, "0.5"], [0.8, "0.8"]], { below: true }),
    slider("cooldown", "cooldown: values not counted after a cut", { low: 0, high: 40, step: 1, below: true }),
    slider("moment", "evaluations heard", { low: 1, high: EVALUATIONS, step: 1, below: true }),
  ],
})
