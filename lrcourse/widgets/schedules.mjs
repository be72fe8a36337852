// Learning-rate schedules as plain data, with the formulas and the algebra of lrcourse.schedules.
//
// A schedule is an object: { family: "Linear", start: 0, end: 1, length: 100 }. Four rules say how
// schedules compose: the clock of each stops at its length, and it holds the value it has reached;
// a >> b is a for a.length steps, then b on its own clock; a part of zero length leaves no trace;
// a * b is the product at every t. A length of null is endless.

const mix = (start, end, weight) => start * weight + end * (1 - weight)
const cosine = (x) => (1 + Math.cos(Math.PI * x)) / 2
const progress = (t, length) => (length ? t / length : 1)

/** The factor of each family at time t, which is neither negative nor past the length. */
const formulas = {
  Constant: ({ factor }) => factor,
  Linear: ({ start, end, length }, t) => mix(start, end, 1 - progress(t, length)),
  Polynomial: ({ start, end, length, power }, t) => mix(start, end, (1 - progress(t, length)) ** power),
  Cosine: ({ start, end, length }, t) => mix(start, end, cosine(progress(t, length))),
  OneMinusSqrt: ({ start, end, length }, t) => mix(start, end, 1 - Math.sqrt(progress(t, length))),
  Exponential: ({ gamma }, t) => gamma ** t,
  InverseTime: ({ rate }, t) => 1 / (1 + rate * t),
  Step: ({ step_size, gamma }, t) => gamma ** Math.floor(t / step_size),
  MultiStep: ({ milestones, gamma }, t) => gamma ** milestones.filter((m) => m <= t).length,
  InverseSqrt: ({ warmup }, t) => Math.min(t / warmup, 1) * Math.sqrt(warmup / Math.max(t, warmup)),
  Noam: ({ d_model, warmup }, t) => d_model ** -0.5 * Math.min((t + 1) ** -0.5, (t + 1) * warmup ** -1.5),
  CosineRestarts({ T_0, T_mult, end }, t) {
    let [start, period] = [0, T_0]
    if (T_mult === 1) start = Math.floor(t / T_0) * T_0
    else while (t >= start + period) [start, period] = [start + period, period * T_mult]
    return mix(1, end, cosine((t - start) / period))
  },
  Cyclic({ base, peak, step_size_up: up, step_size_down, mode, gamma }, t) {
    const down = step_size_down ?? up
    const cycle = Math.floor(t / (up + down))
    const now = t - cycle * (up + down)
    const height = Math.min(now / up, (up + down - now) / down)
    const scale = { triangular: 1, triangular2: 0.5 ** cycle, exp_range: gamma ** t }[mode]
    return mix(peak, base, height * scale)
  },
  OneCycle({ total_steps, pct_start, div_factor, final_div_factor, anneal_strategy }, t) {
    const [low, top, last] = [1 / div_factor, pct_start * total_steps - 1, total_steps - 1]
    const now = Math.min(t, last)
    const [start, end, x] = now < top ? [low, 1, now / (top || 1)]
      : [1, low / final_div_factor, (now - top) / (last - top || 1)]
    return mix(start, end, anneal_strategy === "cos" ? cosine(x) : 1 - x)
  },
  Sequential({ parts }, t) {
    let start = 0
    for (const part of parts.slice(0, -1)) {
      if (t < start + length(part)) return factor(part, t - start)
      start += length(part)
    }
    return factor(parts.at(-1), t - start)
  },
  Product: ({ parts }, t) => parts.reduce((product, part) => product * factor(part, t), 1),
  Stretched(stretched, t) {
    const [{ schedule, r }, end] = [stretched, length(stretched)]
    return factor(schedule, end !== null && t >= end ? length(schedule) : t / r)
  },
  Taken: ({ schedule }, t) => factor(schedule, t),
  Excerpt: ({ whole, first }, t) => factor(whole, t + first), // lrcourse.chapters.recipes
}

/** How many steps a schedule lasts; null if it is endless. */
export function length(schedule) {
  const { family, parts } = schedule
  if (family === "Sequential") {
    const last = length(parts.at(-1))
    return last === null ? null : parts.reduce((total, part) => total + length(part), 0)
  }
  if (family === "Product") {
    const lengths = parts.map(length)
    return lengths.includes(null) ? null : Math.max(...lengths)
  }
  if (family === "Stretched") {
    const inner = length(schedule.schedule)
    return inner === null ? null : Math.ceil(Math.round(schedule.r * inner * 1e6) / 1e6)
  }
  if (family === "Taken") return schedule.n
  if (family === "Excerpt") return schedule.last - schedule.first
  if (family === "OneCycle") return schedule.total_steps
  return schedule.length ?? null
}

/** What the peak rate is multiplied by after t updates. */
export function factor(schedule, t) {
  const end = length(schedule)
  return formulas[schedule.family](schedule, end === null ? t : Math.min(t, end))
}

/** One after the other: parts without steps leave no trace. */
export function sequence(parts) {
  const kept = parts.filter((part) => length(part) !== 0)
  return kept.length > 1 ? { family: "Sequential", parts: kept } : (kept[0] ?? parts.at(-1))
}

/** The factors of the first `steps` updates. */
export const values = (schedule, steps) => Float64Array.from({ length: steps }, (_, t) => factor(schedule, t))

// ------------------------------------------------------------------------------------- the bound

/**
 * At most distance / peak + noise · peak above the minimum is the last loss of a run on a convex
 * function: lrcourse.chapters.theory.bound has the sources. With factors a₁ … a_T and the sums from
 * k on, Aₖ and Bₖ (of squares): distance = 1 / (2 A₁), noise = ½ (B₁/A₁ + Σ aₖ/Aₖ₊₁ · Bₖ/Aₖ).
 */
export function bound(factors) {
  let T = factors.length
  while (T > 0 && !factors[T - 1]) T-- // updates at the end whose factor is 0 change nothing
  let [A, B, last] = [0, 0, 0]
  for (let k = T - 1; k >= 0; k--) {
    const rest = A
    A += factors[k]
    B += factors[k] ** 2
    if (k < T - 1) last += (factors[k] / rest) * (B / A)
  }
  const [distance, noise] = [0.5 / A, 0.5 * (B / A + last)]
  return { distance, noise, lowest: 2 * Math.sqrt(distance * noise), best_peak: Math.sqrt(distance / noise) }
}

// --------------------------------------------------------------------------------- named models

/** The schedule of a row of data/llm_schedules.csv: "linear 0 1 4; cosine 1 0.1 96 @ 0:48". */
export function stages(text) {
  const curves = {
    linear: (start, end, length) => ({ family: "Linear", start, end, length }),
    cosine: (start, end, length) => ({ family: "Cosine", start, end, length }),
    sqrt: (start, end, length) => ({ family: "OneMinusSqrt", start, end, length }),
    exponential: (start, end, length) => ({
      family: "Product",
      parts: [{ family: "Exponential", gamma: (end / start) ** (1 / length), length }, { family: "Constant", factor: start, length }],
    }),
    constant: (factor, length) => ({ family: "Constant", factor, length }),
    isqrt: (warmup) => ({ family: "InverseSqrt", warmup }),
  }
  return sequence(text.split(";").map((stage) => {
    const [curve, run] = stage.split("@")
    const [name, ...numbers] = curve.trim().split(/\s+/)
    const whole = curves[name](...numbers.map(Number))
    const [first, last] = (run ?? "").split(":").map(Number)
    return run ? { family: "Excerpt", whole, first, last } : whole
  }))
}

/** A curve of `points` factors over a whole run, its largest 1: what makes runs of any length alike. */
export function shape(factors, points = 200) {
  const drawn = Array.from({ length: points }, (_, i) => factors(i / points))
  const top = Math.max(...drawn)
  return drawn.map((value) => value / top)
}
export const shapeOf = (schedule) => shape((x) => factor(schedule, Math.floor(x * length(schedule))))

/** The row [model, year, family, stages] whose shape is nearest, by the mean difference. */
export function nearest(curve, models) {
  let best = { far: Infinity }
  for (const [model, year, family, text] of models) {
    const theirs = shapeOf(stages(text))
    const far = theirs.reduce((total, value, i) => total + Math.abs(value - curve[i]), 0) / curve.length
    if (far < best.far) best = { model, year, family, curve: theirs, far }
  }
  return best
}
