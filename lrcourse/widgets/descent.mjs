// Gradient descent on three landscapes: the rate decides whether a step leads down or away.

import { stage, plot, slider, choice, play, show, count, range, clamp, round } from "./stage.mjs"

// ---------------------------------------------------------- formulas, as in lrcourse.landscapes

/** A bowl: ½ Σ cᵢ uᵢ², its axes turned by `angle`; one curvature or two. */
export function Quadratic(curvatures, angle = 0) {
  const [c, k = 0] = curvatures
  const [cos, sin] = [Math.cos(angle), Math.sin(angle)]
  const hessian = curvatures.length === 1 ? [[c]]
    : [[c * cos * cos + k * sin * sin, (c - k) * cos * sin], [(c - k) * cos * sin, c * sin * sin + k * cos * cos]]
  const gradient = (x) => hessian.map((row) => row.reduce((total, h, i) => total + h * x[i], 0))
  return { gradient, loss: (x) => 0.5 * gradient(x).reduce((total, g, i) => total + g * x[i], 0) }
}

/** A wide bowl at −1 and a pit at 1, 25 times as curved; where they meet, a soft minimum. */
export function DoubleWell(heights = [0, 0.5]) {
  const [[c, k], [m, n], [a, b], softness] = [[1, 25], [-1, 1], heights, 0.03]
  const parts = (x) => [0.5 * c * (x - m) ** 2 + a, 0.5 * k * (x - n) ** 2 + b]
  return {
    loss([x]) {
      const [first, second] = parts(x)
      return Math.min(first, second) - softness * Math.log1p(Math.exp(-Math.abs(first - second) / softness))
    },
    gradient([x]) {
      const [first, second] = parts(x)
      const weight = 0.5 * (1 + Math.tanh((first - second) / (2 * softness)))
      return [c * (x - m) + weight * (k * (x - n) - c * (x - m))]
    },
  }
}

/** velocity = momentum · velocity + gradient; x = x − rate · velocity. It stands still beyond 1e30. */
export function descend(surface, start, rate, steps, momentum = 0) {
  let [x, velocity, divergedAt] = [start, start.map(() => 0), -1]
  const path = [x]
  for (let t = 0; t < steps; t++) {
    const gradient = surface.gradient(x)
    velocity = velocity.map((v, i) => momentum * v + gradient[i])
    const point = x.map((value, i) => value - rate * velocity[i])
    if (divergedAt < 0 && !(Math.abs(surface.loss(point)) <= 1e30)) divergedAt = t + 1
    if (divergedAt < 0) x = point
    path.push(x)
  }
  return { path, losses: path.map(surface.loss), divergedAt }
}

/** By how much one update multiplies the distance on a parabola of curvature L: 1 − ηL. */
export const factor = (rate, L) => 1 - rate * L
/** The largest rate that still converges there: 2/L, and 2 (1 + β)/L with momentum β. */
export const cliff = (L, momentum = 0) => (2 * (1 + momentum)) / L
/** By how much the distance shrinks per update in the long run: the larger root of z² − (1 + β − ηL) z + β. */
export function contraction(rate, L, momentum = 0) {
  const b = 1 + momentum - rate * L
  const root = b * b - 4 * momentum
  return root < 0 ? Math.sqrt(momentum) : (Math.abs(b) + Math.sqrt(root)) / 2
}
/** How a walk swings: "not" at all, with "each step" (that root is negative), or in "waves" (it is complex). */
export function swing(rate, L, momentum = 0) {
  const b = 1 + momentum - rate * L
  if (b * b < 4 * momentum) return "waves"
  return b < 0 ? "each step" : "not"
}

// ------------------------------------------------------------------------------------ the widget

const STEPS = 25
const LANDS = {
  parabola: { surface: Quadratic([4]), L: 4, x: [-2.2, 2.2], y: [0, 9], rate: 0.1, start: [-1.8] },
  valley: { surface: Quadratic([1, 50], 0.35), L: 50, x: [-3, 2], y: [-1.6, 1.2], rate: 0.02, start: [-2.5, -0.3] },
  "two wells": { surface: DoubleWell(), L: 25, x: [-3.2, 1.8], y: [0, 4], rate: 0.02, start: [1.5] },
}
const start = { land: "parabola", momentum: 0, steps: STEPS, crossed: false }
/** Where the cliff lies is shown to who has been there: `crossed`. */
function complete(given) {
  const state = { rate: LANDS[given.land].rate, start: LANDS[given.land].start, ...given }
  return { ...state, crossed: state.crossed || beyond(state) >= 0 }
}
const walk = ({ land, rate, momentum, start, steps }) => descend(LANDS[land].surface, start, rate, steps, momentum)

function pictures(state, width) {
  const { surface, x, y, L } = LANDS[state.land]
  const { path, losses } = walk(state)
  const flat = path[0].length === 2
  const places = flat ? path : path.map((p, t) => [p[0], losses[t]])
  const land = (pen) => flat
    ? range(9).map((i) => pen.ring([0, 0], ...[1, 50].map((c) => (i + 1) / 2 / Math.sqrt(c)), 0.35)).join("") + pen.dots([[0, 0]], "c3", 9) + pen.note([0, 0], "lowest", "start", "c3", 9, 5)
    : pen.line(range(161).map((i) => x[0] + ((x[1] - x[0]) * i) / 160).map((v) => [v, surface.loss([v])]), "c0 faint")
  const title = state.land === "parabola" && state.momentum === 0
    ? `Each step multiplies θ by 1 − ηL = ${show(factor(state.rate, L))}` : `The walk, ${count(state.steps, "step")}`
  const first = plot({
    width, title, x, y, xlabel: flat ? "first parameter" : "θ, the parameter", ylabel: flat ? "second parameter" : "loss",
    words: `The landscape and the walk on it. ${said(state).join(" ")}`,
  }, (pen) => land(pen) + pen.line(places, "c1 thin") + pen.dots(places, "c1", 6) + pen.handle(places[0]) + pen.note(places[0], "start", "middle", "c2", 0, -14))
  const second = plot({
    width, title: verdict(state), x: [0, STEPS], y: [1e-6, 1e3], log: "y", xlabel: "step", ylabel: "loss",
    words: `The loss after each step, from ${show(losses[0])} to ${show(losses.at(-1))}.`,
  }, (pen) => pen.across(losses[0], "loss at the start") + pen.line(losses.map((loss, t) => [t, loss]), "c1") + pen.dots(losses.map((loss, t) => [t, loss]), "c1", 6))
  return [first, second]
}

/** How far the rate is above the cliff, as a share of it; 0 where it is the cliff. */
function beyond({ land, rate, momentum }) {
  const above = rate / cliff(LANDS[land].L, momentum) - 1
  return Math.abs(above) < 1e-9 ? 0 : above
}

function verdict(state) {
  if (beyond(state) === 0 && state.land !== "two wells") return "It swings on and on and never settles"
  const { losses, divergedAt } = walk({ ...state, steps: 400 })
  if (divergedAt > 0 || losses.at(-1) > losses[0]) return "It leads away: the loss grows"
  const left = (100 * losses[state.steps]) / losses[0]
  return `${count(state.steps, "step")} leave ${left < 0.01 ? "less than 0.01" : show(left, 2)} % of the loss`
}

const SWINGS = { // what a walk does on its way
  not: "comes nearer from one side",
  "each step": "swings: each step lands on the other side",
  waves: "swings in waves, because momentum carries it past the lowest place and back",
}

function said(state) {
  const { land, rate, momentum, crossed } = state
  const { L } = LANDS[land]
  const edge = `${momentum ? "2(1 + β)/L" : "2/L"}${crossed ? ` = ${show(cliff(L, momentum))}` : ""}`
  const at = `η = ${show(rate)}`
  const headline = `${verdict(state)}.`
  if (land === "two wells") {
    const end = walk({ ...state, steps: 2000 }).path.at(-1)[0]
    const settled = Math.abs(end + 1) < 0.01 ? [1, "in the wide bowl, the lowest place"] : Math.abs(end - 1) < 0.01 ? [L, "in the narrow pit, which is only a local minimum"] : null
    return [headline, settled ? `At ${at} this walk ends ${settled[1]}; near the end it ${SWINGS[swing(rate, settled[0], momentum)]}.` : `At ${at} this walk ends nowhere: it jumps about.`,
      `The pit on the right is the more curved one (L = ${L}), so a walk can settle in it only below ${edge}.`]
  }
  const swings = `the walk swings from side to side${land === "valley" ? " across the valley" : ""}, and each swing is`
  if (beyond(state) === 0) return [headline, `The rate is ${edge} itself, the cliff: ${swings} as wide as the one before it.`]
  if (beyond(state) > 0) return [headline, `The rate ${show(rate)} is above ${edge}, the cliff: ${swings} wider than the one before it.`]
  const how = SWINGS[swing(rate, L, momentum)]
  if (land === "valley") return [headline, `At ${at} the walk, across the valley, ${how}.`,
    `The rate must stay below ${edge}, because across the valley the curvature is L = 50.`,
    `Along it the curvature is 1, so a step takes away only ${show(100 * rate)} % of that distance${momentum ? ", but momentum adds the steps up" : ""}.`]
  const cliffAt = `The cliff is at ${edge}.`
  if (momentum) return [headline, `With momentum β = ${show(momentum)} each step multiplies the distance, in the long run, by ${show(contraction(rate, L, momentum))}: at ${at} the walk ${how}.`, cliffAt]
  const f = factor(rate, L)
  return [headline, `At ${at} the factor is 1 − ηL = ${show(f)}, so ${Math.abs(f) < 0.005 ? "the first step ends right at the minimum" : f > 0 ? "each step stays on its side and comes nearer" : "the walk swings: each step lands on the other side, but nearer"}.`, cliffAt]
}

const CHANGE = "Change the learning rate η (drag, or use the arrow keys)"
const PROMPTS = {
  parabola: `${CHANGE}: from which rate on does the walk swing from side to side, and from which on does it lead away? L is the curvature, by how much the slope changes per unit of θ: here it is 4.`,
  valley: `${CHANGE}: how near can 25 steps come without leaving the valley, and how near when a part β of the speed is kept from step to step (momentum)? L is the largest curvature, the one across the valley: here it is 50, and along the valley it is 1.`,
  "two wells": `${CHANGE}: from which rate on does the walk leave the narrow pit for the wide bowl? L is the curvature of the pit, by how much its slope changes per unit of θ: here it is 25.`,
}

export default stage({
  name: "gradient descent",
  prompt: ({ land }) => PROMPTS[land],
  start,
  complete,
  panels: 2,
  pictures,
  said,
  controls(state) {
    const { L, x, y, start } = LANDS[state.land]
    return [
      choice("land", "Landscape", Object.keys(LANDS).map((name) => [name, name]), {
        then: (land) => ({ rate: LANDS[land].rate, start: LANDS[land].start, steps: STEPS, crossed: false }),
      }),
      slider("rate", "learning rate η", { low: 0.04 / L, high: 4.2 / L, log: true, marks: [[1 / L, "1/L"], ...(state.crossed ? [[cliff(L, state.momentum), state.momentum ? "2(1+β)/L" : "2/L"]] : [])] }),
      play("steps", "Walk again", STEPS, 5),
      slider("momentum", "momentum β", { low: 0, high: 0.95, step: 0.05, below: true }),
      slider("start.0", start.length === 2 ? "start, first parameter" : "start (or drag the dot)", { low: x[0], high: x[1], step: 0.05, below: true }),
      ...(start.length === 2 ? [slider("start.1", "start, second parameter", { low: y[0], high: y[1], step: 0.05, below: true })] : []),
      slider("steps", "steps made", { low: 0, high: STEPS, step: 1, below: true }),
    ]
  },
  drag(state, x, y) {
    const land = LANDS[state.land]
    const place = [land.x[0] + x * (land.x[1] - land.x[0]), land.y[0] + y * (land.y[1] - land.y[0])]
    return { start: place.slice(0, state.start.length).map((value, i) => clamp(Math.round(value * 20) / 20, ...(i ? land.y : land.x))) }
  },
})
