// Compose a schedule, or draw one: see what it does, and copy it for the library you use.

import { stage, plot, slider, choice, button, copy, rule, escape, show, count, range, clamp, round, sum } from "./stage.mjs"
import { factor, sequence, bound, nearest, shape } from "./schedules.mjs"
import { TARGETS, code, expression } from "./code.mjs"

// ---------------------------------------------------------------------------- from parts to a plan
// The state keeps a list of parts: { family, op, take, …arguments }. `op` joins a part to the one
// before it: ">>" is after it, "*" at the same time. `take` is how many steps a part without an end
// gets when another one follows. The last part, if it has an end, ends with the run.

const KNOTS = 9 // of a drawn schedule

/** The schedule that the state describes, as schedules.mjs writes it. */
export function schedule({ parts, total, drawn }) {
  if (drawn) {
    const at = range(KNOTS).map((i) => Math.round((i * total) / (KNOTS - 1)))
    return sequence(range(KNOTS - 1).map((i) => ({ family: "Linear", start: drawn[i], end: drawn[i + 1], length: at[i + 1] - at[i] })))
  }
  const each = lengths({ parts, total })
  return sequence(groups(parts).map((group, i, all) => {
    const last = i === all.length - 1
    const leaves = group.map(({ family, op, take, ...args }) => ({ family, ...args }))
    if (group.length > 1) {
      const product = { family: "Product", parts: leaves }
      return last ? product : { family: "Taken", schedule: product, n: each[i] }
    }
    const [leaf, end] = [leaves[0], FAMILIES[leaves[0].family].end]
    if (end) return { ...leaf, [end]: Math.max(each[i], 1) }
    if (last) return leaf
    return "length" in leaf ? { ...leaf, length: each[i] } : { family: "Taken", schedule: leaf, n: each[i] }
  }))
}
const groups = (parts) => parts.reduce((all, part) => part.op === "*" && all.length
  ? [...all.slice(0, -1), [...all.at(-1), part]] : [...all, [part]], [])

/** How many steps each stretch of the parts gets: the last one what the others leave, or 0. */
export function lengths({ parts, total }) {
  const found = groups(parts).slice(0, -1).map(([part, second]) => part[(!second && FAMILIES[part.family].end) || "take"])
  return [...found, Math.max(0, total - sum(found))]
}

/** The parts with those lengths written down, so that each keeps its own when others come and go. */
function settled(state) {
  const each = lengths(state)
  return groups(state.parts).flatMap(([part, ...more], i) => {
    const [n, end] = [Math.max(1, each[i]), FAMILIES[part.family].end]
    return [{ ...part, take: n, ...(end && !more.length ? { [end]: n } : {}) }, ...more]
  })
}

/** What code.mjs makes code from. */
export const plan = (state) => ({ schedule: schedule(state), peak: state.peak, total: state.total, per: state.unit === "epochs" ? state.per : 1 })

// ------------------------------------------------------------------------------- the families
// Each with its words, its arguments for a run of n steps, the argument that is its end, if it has
// one, and the sliders for the others.

const share = { low: 0, high: 1, step: 0.01 }
const steps = (n) => ({ low: 1, high: n, step: 1, typed: true })
const half = (gamma) => Math.log(0.5) / Math.log(gamma) // steps until a factor is a half
const FAMILIES = {
  Constant: { words: "constant", of: () => ({ factor: 1, length: null }), sliders: () => [["factor", "factor", share]] },
  Linear: { words: "straight line", end: "length", of: (n) => ({ start: 1, end: 0, length: n }), sliders: () => [["start", "from", share], ["end", "to", share]] },
  Cosine: { words: "half a cosine", end: "length", of: (n) => ({ length: n, end: 0, start: 1 }), sliders: () => [["start", "from", share], ["end", "to", share]] },
  Polynomial: { words: "polynomial", end: "length", of: (n) => ({ start: 1, end: 0, length: n, power: 2 }), sliders: () => [["start", "from", share], ["end", "to", share], ["power", "power", { low: 0.25, high: 4, step: 0.25 }]] },
  OneMinusSqrt: { words: "1 − √x, steep at first", end: "length", of: (n) => ({ length: n, end: 0, start: 1 }), sliders: () => [["start", "from", share], ["end", "to", share]] },
  Exponential: { words: "exponential", of: (n) => ({ gamma: round(0.5 ** (5 / n), 6), length: null }), sliders: (n) => [["gamma", "γ: halves every", { low: 1, high: 4 * n, log: true, through: [half, (h) => round(0.5 ** (1 / h), 6)], said: (h) => count(round(h, 3), "step") }]] },
  InverseTime: { words: "1 / (1 + rate · t)", of: (n) => ({ rate: round(10 / n, 2), length: null }), sliders: () => [["rate", "rate", { low: 1e-4, high: 1, log: true }]] },
  InverseSqrt: { words: "1 / √t after a warmup", of: (n) => ({ warmup: Math.ceil(n / 10) }), sliders: (n) => [["warmup", "warmup steps", steps(n)]] },
  Step: { words: "equal stairs", of: (n) => ({ step_size: Math.ceil(n / 3), gamma: 0.1 }), sliders: (n) => [["step_size", "steps to a stair", steps(n)], ["gamma", "γ: each is multiplied by", share01()]] },
  MultiStep: { words: "two cuts", of: (n) => ({ milestones: [Math.round(0.8 * n), Math.round(0.9 * n)], gamma: 0.316 }), sliders: (n) => [["milestones.0", "first cut", steps(n)], ["milestones.1", "second cut", steps(n)], ["gamma", "γ: a cut multiplies by", share01()]] },
  CosineRestarts: { words: "cosines with restarts", of: (n) => ({ T_0: Math.ceil(n / 4), T_mult: 1, end: 0 }), sliders: (n) => [["T_0", "first cycle, steps", steps(n)], ["T_mult", "each longer by ×", { low: 1, high: 3, step: 1 }], ["end", "down to", share]] },
  Cyclic: { words: "up and down", of: (n) => ({ base: 0.1, peak: 1, step_size_up: Math.ceil(n / 8), step_size_down: null, mode: "triangular", gamma: 1 }), sliders: (n) => [["base", "lowest", share], ["step_size_up", "steps up (and down)", steps(n)]] },
  OneCycle: { words: "1cycle", end: "total_steps", of: (n) => ({ total_steps: n, pct_start: 0.3, div_factor: 25, final_div_factor: 1e4, anneal_strategy: "cos" }), sliders: () => [["pct_start", "share of the way up", { low: 0.05, high: 0.95, step: 0.05 }], ["div_factor", "begins at the peak by", { low: 1, high: 100, log: true }], ["final_div_factor", "ends lower by another", { low: 1, high: 1e5, log: true }]] },
  Noam: { words: "Noam (a rate: set the peak to 1)", of: (n) => ({ d_model: 512, warmup: Math.ceil(n / 10) }), sliders: (n) => [["d_model", "width of the model", { low: 16, high: 4096, log: true, step: 1 }], ["warmup", "warmup steps", steps(n)]] },
}
function share01() { return { low: 0.01, high: 1, step: 0.01 } }

const newPart = (family, n, more = {}) => ({ family, op: ">>", take: n, ...FAMILIES[family].of(n), ...more })
const warmup = (n) => newPart("Linear", Math.round(n / 10), { start: 0, end: 1 })

const BEGINNINGS = {
  cosine: ["a warmup, then half a cosine", (n) => [warmup(n), newPart("Cosine", n)]],
  linear: ["a warmup, then a straight line", (n) => [warmup(n), newPart("Linear", n)]],
  wsd: ["WSD: a warmup, a stable rate, a decay", (n) => [warmup(n), newPart("Constant", n - Math.round(n / 10) - Math.round(n / 5)), newPart("OneMinusSqrt", n)]],
  steps: ["stairs", (n) => [newPart("MultiStep", n)]],
  constant: ["a constant rate", (n) => [newPart("Constant", n)]],
  restarts: ["restarts under a slow decay", (n) => [newPart("CosineRestarts", n, { end: 0.1 }), newPart("Exponential", n, { op: "*" })]],
  onecycle: ["1cycle", (n) => [newPart("OneCycle", n)]],
  sqrt: ["inverse square root", (n) => [newPart("InverseSqrt", n)]],
  own: ["a schedule of your own", null],
  draw: ["your own drawing", null],
}

const complete = (state) => ({ parts: BEGINNINGS[state.begin][1]?.(state.total), ...state })
const start = { begin: "cosine", drawn: null, total: 1000, peak: 0.1, unit: "updates", per: 20, target: "torch", models: [] }

// Numbers that count steps go with the length of the run.
const COUNTS = ["take", "length", "total_steps", "warmup", "step_size", "T_0", "step_size_up"]
function stretched(parts, by) {
  const longer = (n) => Math.max(1, Math.round(n * by))
  return parts.map((part) => Object.fromEntries(Object.entries(part).map(([key, value]) => {
    if (COUNTS.includes(key) && value !== null) return [key, longer(value)]
    if (key === "milestones") return [key, value.map(longer)]
    return [key, key === "gamma" && part.family === "Exponential" ? round(value ** (1 / by), 6) : value]
  })))
}

// ----------------------------------------------------------------------------------- what it shows

let last = ["", null]
/** All that is computed from the state; once for each state. */
export function found(state) {
  const { parts, drawn, total, peak, unit, per, models } = state
  const asked = JSON.stringify([parts, drawn, total, peak, unit, per, models.length])
  if (last[0] === asked) return last[1]
  const { schedule: whole, per: each } = plan(state)
  const factors = range(total).map((t) => factor(whole, t))
  const updates = each === 1 ? factors : factors.flatMap((value) => Array(each).fill(value))
  const some = updates.some((value) => value > 0)
  const line = (f) => bound(range(updates.length).map((t) => f(t / updates.length)))
  const near = some && models.length ? nearest(shape((x) => factors[Math.floor(x * total)]), models) : null
  last = [asked, {
    whole, factors, near, updates: updates.length,
    full: sum(updates), end: factors.at(-1), top: Math.max(...factors),
    bound: some ? bound(updates) : null,
    cosine: line((x) => (1 + Math.cos(Math.PI * x)) / 2), straight: line((x) => 1 - x),
  }]
  return last[1]
}

function pictures(state, width) {
  const { factors, near, top } = found(state)
  const { total, peak, unit, drawn } = state
  const high = peak * Math.max(drawn ? 1 : top, 1e-12) * 1.06
  const points = factors.map((value, t) => [t, peak * value])
  return [plot({
    width, height: 280, title: title(state), x: [0, total], y: [0, high],
    xlabel: unit === "epochs" ? "epoch" : "update", ylabel: "learning rate", words: `The learning rate over the run. ${said(state).join(" ")}`,
  }, (pen) => (near ? pen.line(near.curve.map((value, i) => [(i / near.curve.length) * total, peak * top * value]), "dash c2 thin") : "")
    + (unit === "epochs" ? pen.steps([...points, [total, peak * factors.at(-1)]], "c1") : pen.line([...points, [total, peak * factors.at(-1)]], "c1"))
    + (near ? pen.note([total, high], `dashed: ${near.model}`, "end", "c2", -6, 16) : "")
    + (drawn ?? []).map((value, i) => pen.handle([(i / (KNOTS - 1)) * total, peak * value])).join(""))]
}

function title(state) {
  const { top, end } = found(state)
  if (!top) return "The rate is 0 all the time"
  const left = end / top
  const how = left > 0.995 ? "ends at its peak" : left < 0.0005 ? "ends next to 0" : `ends at ${show(100 * left, 2)} % of its peak`
  return `The rate reaches ${show(state.peak * top)} and ${how}`
}

function said(state) {
  const { updates, full, end, top } = found(state)
  const { parts, drawn, total, unit } = state
  const each = lengths(state)
  const kept = sum(each.slice(0, -1))
  return [
    `${title(state)}.`,
    ...(drawn || each.length < 2 ? [] : kept < total ? [`Its parts last ${each.join(" + ")} = ${total} ${unit}.`]
      : [`The parts before the last one take ${kept} ${unit}, but the run has only ${total}, so part ${parts.length} is never reached: make them shorter, or the run longer.`]),
    `The rates of ${count(updates, "update")} add up to as much as ${show(full / (top || 1))} at the highest rate.`,
    `The last one is made at ${show(state.peak * end)}.`,
  ]
}

function html(state) {
  const { whole, near, bound, cosine, straight, updates, full, end } = found(state)
  const root = Math.sqrt(updates)
  const rows = [
    ["Sum of the rates", show(state.peak * full)],
    ["The last update gets", `${show(state.peak * end)} (${show(100 * end, 2)} % of ${show(state.peak)})`],
    ...(bound ? [
      ["Bound on the last loss × √updates: less is a better promise", `${show(bound.lowest * root)} (a straight line to 0: ${show(straight.lowest * root)})`],
      ["Best peak by the bound", `${show(bound.best_peak / cosine.best_peak, 2)} times a cosine’s`],
    ] : []),
    ...(near ? [["Nearest named model", `${escape(near.model)} (${near.year}), ${show(100 * near.far, 2)} % of the peak away on average`]] : []),
  ]
  return `<p>In this course’s Python, where <code>&gt;&gt;</code> is “and then” and <code>*</code> is “times”:</p><div class="code" role="group" aria-label="The schedule as an expression of this course" tabindex="0">${escape(expression(whole).replace(/ (>>) /g, "\n  $1 "))}</div>
<table><tbody>${rows.map(([name, value]) => `<tr><th scope="row">${name}</th><td>${value}</td></tr>`).join("")}</tbody></table>
<p>The bound is a promise about the worst convex function. It tells where to look for the peak: if a cosine of this length is best at some rate, begin with so many times that. It does not order good schedules, and it knows of no cliff and no warmup (chapter 16).</p>`
}

// -------------------------------------------------------------------------------------- controls

function controlsOf(part, i, state) {
  const { total, unit, parts } = state
  const all = groups(parts)
  const mine = all.findIndex((group) => group.includes(part))
  const [group, n, isLast] = [all[mine], lengths(state)[mine], mine === all.length - 1]
  const { words, end, sliders } = FAMILIES[part.family]
  const below = { below: true, about: `part ${i + 1}`, then: () => ({ begin: "own" }) }
  const key = (name) => `parts.${i}.${name}`
  const given = n === 1 ? unit.slice(0, -1) : unit
  return [
    rule(`part ${i}`, `Part ${i + 1}: ${words} (${n} ${given}${isLast ? ", what is left" : ""})`, { below: true }),
    ...(i ? [choice(key("op"), "Joined to the part before", [[">>", ">> (after it)"], ["*", "* (times it)"]], {
      ...below, then: (op, old) => ({ begin: "own", parts: settled(old).with(i, { ...settled(old)[i], op }) }),
    })] : []),
    choice(key("family"), "Family", Object.entries(FAMILIES).map(([name, { words }]) => [name, `${name}: ${words}`]), {
      ...below, then: (family, old) => ({ begin: "own", parts: settled(old).with(i, newPart(family, Math.max(1, lengths(old)[mine]), { op: old.parts[i].op })) }),
    }),
    ...sliders(total).map(([name, label, options]) => slider(key(name), label, { ...below, ...options })),
    ...(end && (group.length > 1 || !isLast) ? [slider(key(end), "steps until its end", { ...below, ...steps(total) })] : []),
    ...(!isLast && part === group[0] && !(end && group.length === 1) ? [slider(key("take"), "steps before the next part", { ...below, ...steps(total) })] : []),
  ]
}

const RUNS = { updates: { low: 50, high: 20000, log: true }, epochs: { low: 10, high: 300 } }
const written = (state) => code(state.target, plan(state))

// A new part comes with steps of its own, and takes them along when it goes: no other part changes.
const room = ({ total, unit }) => Math.max(0, Math.min(Math.ceil(total / 5), RUNS[unit].high - total))
const freed = (state) => (state.parts.at(-1).op === "*" ? 0 : lengths(state).at(-1))
const removed = (state) => ({ begin: "own", total: state.total - freed(state), parts: settled(state).slice(0, -1) })
function added(state) {
  const [n, start] = [room(state), round(clamp(factor(schedule(state), state.total), 0, 1), 2)]
  return { begin: "own", total: state.total + n, parts: [...settled(state), newPart("Linear", n, { start, end: start ? 0 : 1 })] }
}

function controls(state) {
  const { total, unit, parts, drawn, begin } = state
  const longer = (next, old) => ({ parts: stretched(old.parts, next.total / old.total) })
  const beginnings = Object.entries(BEGINNINGS).filter(([name]) => name !== "own" || begin === "own")
  return [
    choice("begin", "Begin with", beginnings.map(([name, [words]]) => [name, words]), {
      then: (name, now) => name === "draw" ? { drawn: range(KNOTS).map((i) => round(clamp(factor(schedule(now), Math.round((i * now.total) / (KNOTS - 1))), 0, 1), 2)) }
        : { drawn: null, ...(BEGINNINGS[name][1] ? { parts: BEGINNINGS[name][1](now.total) } : {}) },
    }),
    slider("peak", "peak rate", { low: 1e-5, high: 1, log: true, digits: 2, typed: true }),
    slider("total", `${unit} in all (parts stretch along)`, { ...RUNS[unit], step: 1, typed: true, digits: 2, then: longer, said: (v) => show(v, 6) }),
    choice("unit", "A step is", [["updates", "an update"], ["epochs", "an epoch"]], {
      then(unit, now) {
        const total = unit === now.unit ? now.total : unit === "epochs" ? 100 : 1000
        return { total, parts: stretched(now.parts, total / now.total) }
      },
    }),
    ...(unit === "epochs" ? [slider("per", "updates in an epoch", steps(1000))] : []),
    ...(drawn ? drawn.map((_, i) => slider(`drawn.${i}`, `after ${show((100 * i) / (KNOTS - 1))} % of the run`, { ...share, below: true }))
      : [
        ...parts.flatMap((part, i) => controlsOf(part, i, state)),
        button("more", `Add a part of ${room(state)} ${unit} at the end`, added,
          { below: true, off: parts.length === 5 ? "There is room for five parts." : room(state) ? "" : "The run cannot get any longer here." }),
        button("fewer", `Take the last part away${freed(state) ? `, and its ${freed(state)} ${unit}` : ""}`, removed, { below: true, off: parts.length > 1 ? "" : "This is the only part." }),
      ]),
    rule("code", "The code", { below: true }),
    choice("target", "Code for", Object.entries(TARGETS).map(([name, [words]]) => [name, words]), { list: true, below: true }),
    copy("copy", "Copy the code", written, { below: true }),
  ]
}

export default stage({
  name: "a schedule explorer",
  prompt: ({ drawn }) => drawn ? "Draw a schedule: drag the dots, or use the sliders below. Then copy the code for the library you use."
    : "Choose a schedule, change its parts, and copy the code for the library you use.",
  start,
  complete,
  beside: 400,
  pictures,
  said,
  html,
  controls,
  code: written,
  below: (state) => `<div class="code" role="group" aria-label="Code" tabindex="0">${escape(written(state))}</div>`,
  drag({ drawn }, x, y) {
    if (!drawn) return null
    const i = Math.round(x * (KNOTS - 1))
    return { drawn: drawn.map((old, j) => (j === i ? round(clamp(y * 1.06, 0, 1), 2) : old)) }
  },
})
