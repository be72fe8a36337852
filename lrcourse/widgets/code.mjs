// A schedule as code for other libraries. What is written here is executed by tests/test_widgets.py,
// and its rates are compared with the schedule's, update by update.
//
// A plan is { schedule, peak, total, per }: the schedule counts its own steps, each of which lasts
// `per` updates (1 where it counts updates), and `total` of them make up the run.

import { length } from "./schedules.mjs"

const indent = (lines, by = 1) => lines.join("\n").split("\n").map((line) => (line ? "    ".repeat(by) + line : line))
const is = (schedule, family, wanted = {}) =>
  schedule?.family === family && Object.entries(wanted).every(([key, value]) => schedule[key] === value)
const groups = (schedule) => (schedule.family === "Sequential" ? schedule.parts : [schedule])

// ----------------------------------------------------------------------------------- plain Python

/** A number without the noise of its last digits: 0.1 · 0.1 is 0.01. */
const neat = (value) => Number(value.toPrecision(14))

/** From `from`, `to - from` times a share of the way, as short as the numbers allow. */
function way(from, to, share) {
  const [size, sign] = [neat(Math.abs(to - from)), to < from ? "-" : "+"]
  if (size === 0) return `${from}`
  const gone = size === 1 ? share : `${size} * ${share}`
  return from === 0 ? gone : `${from} ${sign} ${gone}`
}
const mix = (start, end, weight) => way(end, start, weight) // as weight goes from 1 to 0
const cosine = (x) => `(1 + math.cos(math.pi * ${x})) / 2`

/** One family's formula in the variable t: lines before it, and its value. */
const formulas = {
  Constant: ({ factor }) => ({ value: `${factor}` }),
  Linear: ({ start, end, length }, t) => ({ value: way(start, end, `${t} / ${length}`) }),
  Polynomial: ({ start, end, length, power }, t) => ({ value: mix(start, end, `(1 - ${t} / ${length}) ** ${power}`) }),
  Cosine: ({ start, end, length }, t) => ({ value: mix(start, end, cosine(`${t} / ${length}`)) }),
  OneMinusSqrt: ({ start, end, length }, t) => ({ value: mix(start, end, `(1 - math.sqrt(${t} / ${length}))`) }),
  Exponential: ({ gamma }, t) => ({ value: `${gamma} ** ${t}` }),
  InverseTime: ({ rate }, t) => ({ value: `1 / (1 + ${rate} * ${t})` }),
  Step: ({ step_size, gamma }, t) => ({ value: `${gamma} ** (${t} // ${step_size})` }),
  MultiStep: ({ milestones, gamma }, t) => ({ value: `${gamma} ** sum(m <= ${t} for m in [${milestones.join(", ")}])` }),
  InverseSqrt: ({ warmup }, t) => ({ value: `min(${t} / ${warmup}, 1) * math.sqrt(${warmup} / max(${t}, ${warmup}))` }),
  Noam: ({ d_model, warmup }, t) => ({ value: `${d_model} ** -0.5 * min((${t} + 1) ** -0.5, (${t} + 1) * ${warmup} ** -1.5)` }),
  CosineRestarts({ T_0, T_mult, end }, t) {
    if (T_mult === 1) return { value: mix(1, end, cosine(`(${t} % ${T_0}) / ${T_0}`)) }
    return {
      before: [`period, now = ${T_0}, ${t}`, "while now >= period:", ...indent(["now -= period", `period *= ${T_mult}`])],
      value: mix(1, end, cosine("now / period")),
    }
  },
  Cyclic({ base, peak, step_size_up: up, step_size_down, mode, gamma }, t) {
    const down = step_size_down ?? up
    const scale = { triangular: "", triangular2: " * 0.5 ** cycle", exp_range: ` * ${gamma} ** ${t}` }[mode]
    return {
      before: [`cycle, now = divmod(${t}, ${up + down})`, `height = min(now / ${up}, (${up + down} - now) / ${down})${scale}`],
      value: mix(peak, base, "height"),
    }
  },
  OneCycle({ total_steps, pct_start, div_factor, final_div_factor, anneal_strategy }, t) {
    const [low, top, last] = [1 / div_factor, pct_start * total_steps - 1, total_steps - 1]
    const weight = anneal_strategy === "cos" ? cosine("x") : "(1 - x)"
    return {
      before: [`now = min(${t}, ${last})`, `if now < ${top}:`, ...indent([`start, end, x = ${low}, 1, now / ${top || 1}`]),
        "else:", ...indent([`start, end, x = 1, ${low / final_div_factor}, (now - ${top}) / ${last - top || 1}`])],
      value: `end + (start - end) * ${weight}`,
    }
  },
}

/** The lines that return a schedule's factor at t; `short` when t stays below its length. */
function body(schedule, short = false) {
  const { family, parts } = schedule
  if (family === "Sequential") {
    return parts.flatMap((part, i) => i === parts.length - 1 ? body(part, false)
      : [`if t < ${length(part)}:`, ...indent(body(part, true)), `t -= ${length(part)}`])
  }
  const held = (n) => (short || n === null ? [] : [`t = min(t, ${n})`])
  if (family === "Taken") return [...held(schedule.n), ...body(schedule.schedule, length(schedule.schedule) === null)]
  if (family === "Product") {
    const names = parts.map((_, i) => "abcdefgh"[i])
    return [...parts.flatMap((part, i) => {
      const { before = [], value } = formulas[part.family](part, length(part) === null ? "t" : `min(t, ${length(part)})`)
      return [...before, `${names[i]} = ${value}`]
    }), `return ${names.join(" * ")}`]
  }
  const { before = [], value } = formulas[family](schedule, "t")
  return [...(family === "Constant" || family === "OneCycle" ? [] : held(length(schedule))), ...before, `return ${value}`]
}

/** A schedule as a Python function of t. */
function python(schedule, name = "factor", said = "What the peak rate is multiplied by after t steps.") {
  const lines = [`def ${name}(t):`, ...indent([`"""${said}"""`, ...body(schedule)])].join("\n")
  const shorter = lines.replace(/t -= (\d+)\n( *)t = min\(t, /g, "t = min(t - $1, ").replace(/\n *t -= \d+(?=\n *return [\d.]+$)/, "")
  return shorter.split("\n")
}

/** A whole file: the imports that its lines need, then the lines, in blocks. */
function file(imports, ...blocks) {
  const text = blocks.map((block) => block.join("\n"))
  const all = text.some((block) => block.includes("math.")) ? ["import math", "", ...imports] : imports
  const functions = (block) => /^(def|class) /.test(block)
  return [all.join("\n").trim(), ...text].filter(Boolean).reduce((done, block, i, list) =>
    done + (i ? (functions(block) || functions(list[i - 1]) ? "\n\n\n" : "\n\n") : "") + block, "") + "\n"
}

const when = ({ per }) => `# Call scheduler.step() after each ${per > 1 ? `epoch (here of ${per} updates)` : "update"}.`
const optimizer = ({ peak }) => `optimizer = SGD(model.parameters(), lr=${peak})  # or yours, at the peak rate`

function plain(plan) {
  const { schedule, peak, per } = plan
  return file([], python(schedule), [
    "def rate(t):",
    ...indent([`"""The learning rate of an update, after t updates."""`, `return ${peak} * factor(t${per > 1 ? ` // ${per}` : ""})`]),
  ], ["# Before each update:", "# for group in optimizer.param_groups:", '#     group["lr"] = rate(t)'])
}

// ------------------------------------------------------------------------------------ PyTorch

function lambda(plan) {
  return file(["from torch.optim import SGD", "from torch.optim.lr_scheduler import LambdaLR"], python(plan.schedule),
    [optimizer(plan), "scheduler = LambdaLR(optimizer, factor)", when(plan)])
}

/** The class of torch that does what a family does, and its arguments; null where none does. */
function torchClass(schedule, { peak, total }, alone) {
  const { family } = schedule
  const steps = length(schedule) ?? total
  const call = (name, args) => [name, Object.entries(args).map(([key, value]) => `${key}=${value}`)]
  if (is(schedule, "Constant") && schedule.factor > 0 && schedule.factor <= 1) return call("ConstantLR", { factor: schedule.factor, total_iters: total })
  if (family === "Linear" && schedule.start > 0 && schedule.start <= 1 && schedule.end <= 1) return call("LinearLR", { start_factor: schedule.start, end_factor: schedule.end, total_iters: steps })
  if (is(schedule, "Polynomial", { start: 1, end: 0 })) return call("PolynomialLR", { total_iters: steps, power: schedule.power })
  if (is(schedule, "Cosine", { start: 1 })) return call("CosineAnnealingLR", { T_max: steps, eta_min: neat(schedule.end * peak) })
  if (family === "Exponential") return call("ExponentialLR", { gamma: schedule.gamma })
  if (family === "Step") return call("StepLR", { step_size: schedule.step_size, gamma: schedule.gamma })
  if (family === "MultiStep") return call("MultiStepLR", { milestones: `[${schedule.milestones.join(", ")}]`, gamma: schedule.gamma })
  if (family === "CosineRestarts") return call("CosineAnnealingWarmRestarts", { T_0: schedule.T_0, T_mult: schedule.T_mult, eta_min: neat(schedule.end * peak) })
  if (!alone) return null // the following two write their own rates when they are made
  if (family === "Cyclic") return call("CyclicLR", { base_lr: neat(schedule.base * peak), max_lr: neat(schedule.peak * peak), step_size_up: schedule.step_size_up, step_size_down: schedule.step_size_down ?? schedule.step_size_up, mode: `"${schedule.mode}"`, gamma: schedule.gamma, cycle_momentum: "False" })
  if (family === "OneCycle" && schedule.total_steps >= total) return call("OneCycleLR", { max_lr: peak, total_steps: schedule.total_steps, pct_start: schedule.pct_start, div_factor: schedule.div_factor, final_div_factor: schedule.final_div_factor, anneal_strategy: `"${schedule.anneal_strategy}"`, cycle_momentum: "False" })
  return null
}

const MULTIPLY = ["ConstantLR", "LinearLR", "ExponentialLR", "StepLR", "MultiStepLR"] // the last rate by something

function torch(plan) {
  const parts = groups(plan.schedule)
  const used = new Set()
  const functions = []
  const made = ([name, args]) => {
    used.add(name)
    const line = `${name}(optimizer, ${args.join(", ")})`
    return line.length < 80 ? line : [`${name}(`, ...indent(["optimizer", ...args].map((each) => `${each},`)), ")"].join("\n")
  }
  const one = (part, i) => {
    const inner = part.family === "Taken" ? part.schedule : part
    const found = torchClass(inner, plan, parts.length === 1 && inner === part)
    // The last part holds what it has reached, if the run is longer. Not all classes do.
    const ends = i === parts.length - 1 && length(part) !== null && length(plan.schedule) < plan.total
    const holds = inner === part && ["Constant", "Linear", "Polynomial"].includes(part.family)
    if (found && (!ends || holds)) return made(found)
    const chain = parts.length === 1 && !ends && part.family === "Product" && part.parts.map((each) => torchClass(each, plan, false))
    if (chain && chain.every((each) => each && MULTIPLY.includes(each[0]))) {
      used.add("ChainedScheduler")
      return ["ChainedScheduler(", ...indent(["[", ...indent(chain.map((each) => `${made(each)},`)), "],", "optimizer=optimizer,"]), ")"].join("\n")
    }
    used.add("LambdaLR")
    if (is(part, "Constant")) return `LambdaLR(optimizer, lambda t: ${part.factor})`
    if (is(part, "Linear", { start: 0, end: 1 })) return `LambdaLR(optimizer, lambda t: min(t / ${part.length}, 1))`
    const name = parts.length > 1 ? `part_${i + 1}` : "factor"
    functions.push(python(part, name, "No class of PyTorch does this; LambdaLR takes any function of the step."))
    return `LambdaLR(optimizer, ${name})`
  }
  const calls = parts.map(one)
  const seams = parts.slice(0, -1).map(length).reduce((seams, n) => [...seams, (seams.at(-1) ?? 0) + n], [])
  if (parts.length > 1) used.add("SequentialLR")
  const scheduler = parts.length === 1 ? [`scheduler = ${calls[0]}`]
    : ["scheduler = SequentialLR(", ...indent(["optimizer,", "[", ...indent(calls.map((each) => `${each},`)), "],", `milestones=[${seams.join(", ")}],`]), ")"]
  return file(["from torch.optim import SGD", `from torch.optim.lr_scheduler import ${[...used].sort().join(", ")}`],
    ...functions, [optimizer(plan), ...scheduler, when(plan)])
}

// -------------------------------------------------------------------------------- transformers

/** The Trainer's own name for a plan, and what it needs beside it; null where it has none. */
function trainerName({ schedule, peak, total, per }) {
  if (per > 1) return null // the Trainer's scheduler steps after each update
  const parts = groups(schedule)
  const warm = is(parts[0], "Linear", { start: 0, end: 1 }) && parts.length > 1
  const [main, last, ...more] = warm ? parts.slice(1) : parts
  const warmup = warm ? parts[0].length : 0
  const whole = !last && warmup + (length(main) ?? total) === total // it ends with the run
  if (is(main, "Constant", { factor: 1 }) && !last) return warm ? ["constant_with_warmup", warmup] : ["constant", 0]
  if (is(main, "Linear", { start: 1, end: 0 }) && whole) return ["linear", warmup]
  if (is(main, "Cosine", { start: 1, end: 0 }) && whole) return ["cosine", warmup]
  if (is(main, "Cosine", { start: 1 }) && whole) return ["cosine_with_min_lr", warmup, { min_lr_rate: main.end }]
  if (is(main, "Polynomial", { start: 1 }) && main.end < 1 && whole) return ["polynomial", warmup, { lr_end: neat(main.end * peak), power: main.power }]
  if (is(main, "InverseSqrt") && !warm && !last) return ["inverse_sqrt", main.warmup]
  const decay = { Linear: "linear", Cosine: "cosine", OneMinusSqrt: "1-sqrt" }[last?.family]
  if (is(main, "Constant", { factor: 1 }) && decay && last.start === 1 && last.end === 0 && !more.length && warmup + main.length + last.length === total) {
    return ["warmup_stable_decay", warmup, { num_decay_steps: last.length, decay_type: `"${decay}"` }]
  }
  return null
}

function transformers(plan) {
  const { schedule, peak, total, per } = plan
  const found = trainerName(plan)
  if (found) {
    const [name, warmup, more] = found
    return file(["from transformers import TrainingArguments"], ["arguments = TrainingArguments(", ...indent([
      'output_dir="out",', `max_steps=${total},`, `learning_rate=${peak},`, `lr_scheduler_type="${name}",`,
      ...(warmup ? [`warmup_steps=${warmup},`] : []),
      ...(more ? [`lr_scheduler_kwargs={${Object.entries(more).map(([key, value]) => `"${key}": ${value}`).join(", ")}},`] : []),
    ]), ")"])
  }
  return file(["from torch.optim import AdamW", "from torch.optim.lr_scheduler import LambdaLR", "from transformers import Trainer, TrainingArguments"],
    python(schedule), [
      "# No lr_scheduler_type does this, so the Trainer gets the scheduler ready-made.",
      `arguments = TrainingArguments(output_dir="out", max_steps=${total * per})`,
      `optimizer = AdamW(model.parameters(), lr=${peak})`,
      `scheduler = LambdaLR(optimizer, ${per > 1 ? `lambda t: factor(t // ${per})` : "factor"})`,
      "trainer = Trainer(model, arguments, train_dataset=data, optimizers=(optimizer, scheduler))",
    ])
}

// --------------------------------------------------------------------------------------- Keras

/** A number that Keras takes for a real one: a rate of 1 would be an integer, and so would all that follow. */
const real = (value) => (Number.isInteger(value) ? `${value}.0` : `${value}`)

/** Keras's own class for a plan; null where it has none. */
function kerasClass({ schedule, peak, per }) {
  const parts = groups(schedule)
  const [one, two, three] = parts
  if (per > 1 || three) return null // Keras counts updates
  if (is(one, "Linear", { start: 0, end: 1 }) && is(two, "Cosine", { start: 1 })) return ["CosineDecay", { initial_learning_rate: real(0), decay_steps: two.length, alpha: real(two.end), warmup_target: real(peak), warmup_steps: one.length }]
  if (two) return null
  const first = { initial_learning_rate: real(peak) }
  if (is(one, "Cosine", { start: 1 })) return ["CosineDecay", { ...first, decay_steps: one.length, alpha: real(one.end) }]
  if (is(one, "Linear", { start: 1 })) return ["PolynomialDecay", { ...first, decay_steps: one.length, end_learning_rate: real(neat(one.end * peak)) }]
  if (is(one, "Polynomial", { start: 1 })) return ["PolynomialDecay", { ...first, decay_steps: one.length, end_learning_rate: real(neat(one.end * peak)), power: real(one.power) }]
  if (is(one, "Exponential")) return ["ExponentialDecay", { ...first, decay_steps: 1, decay_rate: real(one.gamma) }]
  if (is(one, "Step")) return ["ExponentialDecay", { ...first, decay_steps: one.step_size, decay_rate: real(one.gamma), staircase: "True" }]
  if (is(one, "InverseTime")) return ["InverseTimeDecay", { ...first, decay_steps: 1, decay_rate: real(one.rate) }]
  return null
}

function keras(plan) {
  const { schedule, peak, total, per } = plan
  const found = kerasClass(plan)
  if (found) {
    const [name, args] = found
    return file(["import keras"], [`rate = keras.optimizers.schedules.${name}(`, ...indent(Object.entries(args).map(([key, value]) => `${key}=${value},`)), ")", "optimizer = keras.optimizers.SGD(learning_rate=rate)  # or yours"])
  }
  return file(["import keras"], python(schedule), [
    "class Plan(keras.optimizers.schedules.LearningRateSchedule):",
    ...indent([
      '"""Keras has no class for this, so the rates stand in a table."""', "",
      "def __init__(self):",
      ...indent([`self.rates = [${peak} * factor(t${per > 1 ? ` // ${per}` : ""}) for t in range(${total * per})]`]), "",
      "def __call__(self, step):",
      ...indent(["last = len(self.rates) - 1", 't = keras.ops.minimum(keras.ops.cast(step, "int32"), last)', 'return keras.ops.take(keras.ops.array(self.rates, "float32"), t)']), "",
      "def get_config(self):", ...indent(["return {}"]),
    ]),
  ], ["optimizer = keras.optimizers.SGD(learning_rate=Plan())  # or yours"])
}

// -------------------------------------------------------------------------------- this course

/** A schedule as an expression of lrcourse.schedules. */
export function expression(schedule) {
  const { family, parts, ...args } = schedule
  const grouped = (part) => (part.family === "Sequential" || part.family === "Product" ? `(${expression(part)})` : expression(part))
  if (family === "Sequential") return parts.map(expression).join(" >> ")
  if (family === "Product") return parts.map(grouped).join(" * ")
  if (family === "Taken") return `${grouped(args.schedule)}.take(${args.n})`
  if (is(schedule, "Linear", { start: 0, end: 1 })) return `Warmup(${args.length})`
  const value = (v) => (v === null ? "None" : Array.isArray(v) ? `[${v.join(", ")}]` : typeof v === "string" ? `"${v}"` : `${v}`)
  const usual = { Cosine: { end: 0, start: 1 }, OneMinusSqrt: { end: 0, start: 1 }, CosineRestarts: { T_mult: 1, end: 0 }, Constant: { length: null }, Exponential: { length: null }, InverseTime: { length: null }, Cyclic: { step_size_down: null, mode: "triangular", gamma: 1 } }[family] ?? {}
  return `${family}(${Object.entries(args).filter(([key, v]) => usual[key] !== v).map(([key, v]) => `${key}=${value(v)}`).join(", ")})`
}

function lrcourse(plan) {
  const text = expression(plan.schedule)
  const names = [...new Set(text.match(/\b[A-Z]\w+(?=\()/g))].sort().join(", ")
  return file(["from torch.optim import SGD", "from torch.optim.lr_scheduler import LambdaLR", "", `from lrcourse.schedules import ${names}`],
    [...(text.length < 80 ? [`schedule = ${text}`] : ["schedule = (", ...indent([text.replace(/ (>>|\*) /g, "\n$1 ")]), ")"]), optimizer(plan), "scheduler = LambdaLR(optimizer, schedule)", when(plan)])
}

/** What can be copied: a name for each, and the function from a plan to its text. */
export const TARGETS = {
  torch: ["PyTorch's classes", torch],
  lambda: ["LambdaLR", lambda],
  transformers: ["transformers", transformers],
  keras: ["Keras", keras],
  plain: ["plain Python", plain],
  lrcourse: ["this course", lrcourse],
}
export const code = (target, plan) => TARGETS[target][1](plan)
