// Many noisy runs in a bowl: they settle into a cloud, and the rate decides how wide it is.

import { stage, plot, slider, choice, toggle, button, play, show, count, range, normals } from "./stage.mjs"

// -------------------------------------------------------------------------------------- formulas
// The bowl is ½ (x² + y²): curvature 1 in both directions. Each gradient has noise of size 1 / √batch
// in all, half of its square in each direction.

/** The rate of update t: × gamma at each milestone m ≤ t, as lrcourse.schedules.MultiStep. */
export const MultiStep = (milestones, gamma) => (t) => gamma ** milestones.filter((m) => m <= t).length

/** The noise of one coordinate of a gradient. */
export const sigma = (batch) => Math.sqrt(0.5 / batch)

/** The height at which the mean loss of a constant rate stays: η / (2 (2 − η)), by the batch. */
export const floor = (rate, batch) => rate / (2 * (2 - rate)) / batch

/**
 * Runs side by side, as lrcourse.landscapes.descend: x = x − rate(t) · (x + sigma · noise).
 *
 * `start` holds the coordinates of all runs, `noise` as many numbers for each update. `averages` are
 * the running averages that one keeps beside the weights: average = decay · average + (1 − decay) · x.
 */
export function descend(start, rate, steps, sigma, noise, decay = 0.98) {
  const n = start.length
  const [path, averages] = [new Float64Array((steps + 1) * n), new Float64Array((steps + 1) * n)]
  path.set(start)
  averages.set(start)
  for (let t = 0; t < steps; t++) {
    const eta = rate(t)
    for (let i = t * n; i < (t + 1) * n; i++) {
      path[i + n] = path[i] - eta * (path[i] + sigma * noise[i])
      averages[i + n] = decay * averages[i] + (1 - decay) * path[i + n]
    }
  }
  return { path, averages }
}

/** The mean loss of `runs` runs after each update: half the mean squared distance. */
export function losses(path, n, runs) {
  const found = new Float64Array(path.length / n)
  for (let i = 0; i < path.length; i++) found[Math.floor(i / n)] += (path[i] * path[i]) / (2 * runs)
  return found
}

/** The same without chance: what the mean over endlessly many runs would be. */
export function expected(start, rate, steps, sigma) {
  let [mean, variance] = [1, 0] // of a coordinate that starts at 1
  const squared = start.reduce((total, x) => total + x * x, 0)
  const found = [squared / 2]
  for (let t = 0; t < steps; t++) {
    const eta = rate(t)
    mean *= 1 - eta
    variance = (1 - eta) ** 2 * variance + (eta * sigma) ** 2
    found.push((squared * mean * mean + start.length * variance) / 2)
  }
  return found
}

// ------------------------------------------------------------------------------------ the widget

const [RUNS, STEPS] = [200, 400]
const PLACE = [1, 1]
const START = Float64Array.from({ length: 2 * RUNS }, (_, i) => PLACE[i % 2])
const noises = new Map()
const noise = (seed) => noises.get(seed) ?? noises.set(seed, normals(STEPS * 2 * RUNS, seed)).get(seed)

const start = { rate: 0.4, batch: 1, cuts: [], by: 5, average: false, shown: 150, seed: 0 }

let last = ["", null] // the runs of the last state: time alone changes nothing in them
function runs({ rate, batch, cuts, by, seed }) {
  const asked = JSON.stringify([rate, batch, cuts, by, seed])
  if (last[0] !== asked) {
    const plan = (t) => rate * MultiStep(cuts, 1 / by)(t)
    const { path, averages } = descend(START, plan, STEPS, sigma(batch), noise(seed))
    const [loss, averaged] = [path, averages].map((p) => losses(p, 2 * RUNS, RUNS))
    last = [asked, { plan, path, averages, loss, averaged, mean: expected(PLACE, plan, STEPS, sigma(batch)) }]
  }
  return last[1]
}

function pictures(state, width) {
  const { plan, path, averages, loss, averaged, mean } = runs(state)
  const t = state.shown
  const places = (p) => range(RUNS).map((i) => [p[2 * RUNS * t + 2 * i], p[2 * RUNS * t + 2 * i + 1]])
  const half = (1.2 * (width - 24)) / 208 // as many pixels to the unit across as up
  const cloud = plot({
    width, title: `${RUNS} runs after ${count(t, "update")}`, x: [-half, half], y: [-1.2, 1.2],
    words: `A bowl seen from above with a dot for each of ${RUNS} runs. ${said(state).join(" ")}`,
  }, (pen) => range(Math.ceil(half / 0.5)).map((i) => pen.ring([0, 0], 0.5 * (i + 1))).join("")
    + pen.dots(places(path), "c1 faint", 5) + (state.average ? pen.dots(places(averages), "c2", 4) : "")
    + pen.ring([0, 0], Math.sqrt(2 * mean[t]), undefined, 0, "line dash c4") + pen.dots([[0, 0]], "c3", 7))
  const curve = (values) => Array.from(values, (value, i) => [i, value])
  const course = plot({
    width, title: title(state), x: [0, STEPS], y: [1e-5, 2], log: "y", xlabel: "update", ylabel: "mean loss",
    words: `The mean loss of the runs, ${show(loss[0])} at the start and ${show(loss[t])} after ${count(t, "update")}.`,
  }, (pen) => pen.line(curve(loss), "c1") + (state.average ? pen.line(curve(averaged), "c2") : "")
    + state.cuts.map((cut, i) => pen.down(cut, `cut to ${show(plan(cut))}`, "mark", i)).join("")
    + pen.steps([...new Set([0, ...state.cuts, STEPS])].sort((a, b) => a - b).map((at) => [at, floor(plan(at), state.batch)]), "thin dash c0")
    + pen.note([STEPS, floor(plan(STEPS), state.batch)], "floor", "end", "c0", -4, 14)
    + pen.dots([[t, loss[t]]], "c1", 10) + (state.average ? pen.dots([[t, averaged[t]]], "c2", 10) + pen.note([STEPS, averaged[STEPS]], "average", "end", "c2", -4, -8) : ""))
  return [cloud, course]
}

function title(state) {
  if (state.cuts.length) return "The rate is cut, and the loss sinks to a new floor"
  return state.average ? "The average of a run lies below its floor" : "The loss stops falling: the floor of this rate"
}

const NEAR = 1.1 // the mean loss, by its floor, where we say that it has settled

function said(state) {
  const { plan, loss, averaged, mean } = runs(state)
  const [t, rate, cuts] = [state.shown, plan(state.shown), state.cuts.filter((cut) => cut <= state.shown)]
  const height = floor(rate, state.batch)
  const now = `After ${count(t, "update")} the mean loss is ${show(loss[t], 2)}.`
  const stays = `${cuts.length ? `The rate is now ${show(rate)}, and its` : `At a rate of ${show(rate)} the`} floor${state.batch > 1 ? ` with a batch of ${state.batch}` : ""} is ${show(height, 2)}: there each update stirs up as much noise as it takes away.`
  const found = [now, settling(), stays]
  if (!state.average) return [...found, "The green dot is the lowest place; the dashed ring is the typical distance from it (the root of the mean square)."]
  return [...found, `The mean loss of the running averages is ${show(averaged[t], 2)}.`, "The orange dots are those averages, of each run's places (98 % of the old average, 2 % of the new place): averaging calms the noise without a cut, but it lags behind while a run is still on its way."]

  function settling() { // by the mean without chance
    const next = state.cuts.find((cut) => cut > t) ?? STEPS
    const there = range(next - t + 1).find((i) => mean[t + i] <= NEAR * height)
    if (there === 0) return "It has settled at the floor of its rate."
    const why = cuts.length ? "the noise of earlier updates must be walked off first" : "the runs are still on their way"
    const left = there ? `in ${count(there, "update")} it will be within a tenth of it` : `it will not be there ${next < STEPS ? "before the next cut" : "when the run ends"}`
    return `It has not yet fallen to the floor of its rate: ${why}, and ${left}.`
  }
}

/** Why another cut can't be made at this moment; "" if it can. */
function noCut({ cuts, shown }) {
  if (cuts.length === 3) return "There are three cuts: take them back first."
  if (cuts.includes(shown)) return `There is a cut at update ${shown} already: move the time first.`
  return shown < STEPS ? "" : "The run ends here: move the time back first."
}

export default stage({
  name: "a cloud of noisy runs",
  prompt: () => "Press play, or move the time, until the cloud stops shrinking. Then change something: what becomes of the cloud and of the loss? The learning rate and, below, the batch size hold for the whole run, a cut only from its update on.",
  start,
  panels: 2,
  pictures,
  said,
  controls: (state) => [
    play("shown", "Play", STEPS, 10),
    slider("shown", "time: update", { low: 0, high: STEPS, step: 1 }),
    slider("rate", `learning rate η${["", " before the cut"][state.cuts.length] ?? " before the cuts"}`, { low: 0.01, high: 1, log: true }),
    button("cut", `Cut the rate to ${{ 2: "a half", 5: "a fifth", 10: "a tenth" }[state.by]} at update ${state.shown}`,
      ({ cuts, shown }) => ({ cuts: [...cuts, shown].sort((a, b) => a - b) }), { off: noCut(state) }),
    button("uncut", "Take the cuts back", () => ({ cuts: [] }), { off: state.cuts.length ? "" : "There is no cut to take back." }),
    choice("by", "A cut divides the rate by", [2, 5, 10].map((by) => [by, String(by)]), { below: true }),
    choice("batch", "Batch size", [1, 4, 16, 64].map((batch) => [batch, String(batch)]), { below: true }),
    toggle("average", "Show the average of each run's places, too", { below: true }),
    button("seed", "Other noise", ({ seed }) => ({ seed: seed + 1 }), { below: true }),
  ],
})
