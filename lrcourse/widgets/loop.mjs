// The training loop line by line: which rate each update really gets, and which one was planned.

import { stage, plot, slider, choice, toggle, button, play, copy, escape, show, count, range } from "./stage.mjs"

// -------------------------------------------------------------------------------------- formulas

const [EPOCHS, MINIBATCHES, PEAK, BAD] = [3, 8, 0.1, 4] // of update BAD the gradient is infinite
export const updates = ({ every }) => (EPOCHS * MINIBATCHES) / every

/** The plan: up in three updates, then down in a straight line; a factor of the peak after t updates. */
export const plan = (t, total) => Math.max(0, Math.min((t + 1) / 3, (total - t) / (total - 2)))

/** The rates that were planned, one for each update. */
export const planned = (state) => range(updates(state)).map((t) => PEAK * plan(t, updates(state)))

/** Does the scheduler step only after an update that was made? It can, if it steps after each. */
const guarded = ({ first, once, scaler, guard }) => scaler && guard && first === "optimizer" && once === "update"

/** The loop as Python, one [what it does, text] a line. */
export function program(state) {
  const { first, once, every, scaler } = state
  const total = updates({ every })
  const early = first === "scheduler"
  const waits = guarded(state)
  const lines = []
  const add = (indent, what, text) => lines.push([what, "    ".repeat(indent) + text])
  const tick = (indent) => add(indent, "scheduler", "scheduler.step()")
  add(0, "", `optimizer = SGD(model.parameters(), lr=${PEAK})`)
  add(0, "", `plan = lambda t: max(0, min((t + 1) / 3, (${total} - t) / ${total - 2}))`)
  add(0, "", "scheduler = LambdaLR(optimizer, plan)")
  if (scaler) add(0, "", "scaler = GradScaler(device)")
  add(0, "epoch", `for epoch in range(${EPOCHS}):`)
  if (early && once === "epoch") tick(1)
  add(1, "minibatch", every > 1 ? "for i, (x, y) in enumerate(loader, 1):" : "for x, y in loader:")
  add(2, "loss", `loss = loss_fn(model(x), y)${every > 1 ? ` / ${every}` : ""}`)
  add(2, "backward", scaler ? "scaler.scale(loss).backward()" : "loss.backward()")
  if (early && once === "minibatch") tick(2)
  if (every > 1) add(2, "if", `if i % ${every} == 0:`)
  const inside = every > 1 ? 3 : 2
  if (early && once === "update") tick(inside)
  if (waits) add(inside, "before", "before = scaler.get_scale()")
  add(inside, "optimizer", scaler ? "scaler.step(optimizer)" : "optimizer.step()")
  if (scaler) add(inside, "scale", "scaler.update()")
  add(inside, "zero", "optimizer.zero_grad()")
  if (waits) add(inside, "guard", "if scaler.get_scale() >= before:  # not skipped")
  if (!early && once === "update") tick(inside + waits)
  if (!early && once === "minibatch") tick(2)
  if (!early && once === "epoch") tick(1)
  return lines
}

/** The loop to copy: with its imports. */
export function code(state) {
  const imports = ["from torch.optim import SGD", "from torch.optim.lr_scheduler import LambdaLR"]
  if (state.scaler) imports.unshift("import torch", "from torch.amp import GradScaler")
  const device = state.scaler ? ['device = "cuda" if torch.cuda.is_available() else "cpu"'] : []
  return [...imports, "", ...device, ...program(state).map(([, text]) => text)].join("\n") + "\n"
}

/**
 * Runs the loop: each line that is executed, and the rates of the updates that were made; for each
 * update, by how many steps the scheduler was ahead of the plan (below 0: behind); its steps in all.
 */
export function run(state) {
  const lines = program(state)
  const [events, used, ahead, skipped] = [[], [], [], []]
  let [epoch, minibatch, ticks, tried, bad] = [0, 0, 0, 0, false]
  const rate = () => PEAK * plan(ticks, updates(state))

  // What each kind of line does: it may run the lines that are indented below it, and tells what happened.
  const does = {
    epoch(tell, body) {
      for (epoch = 1; epoch <= EPOCHS; epoch++) { tell(`Epoch ${epoch} begins.`); body() }
    },
    minibatch(tell, body) {
      for (minibatch = 1; minibatch <= MINIBATCHES; minibatch++) { tell(`Minibatch ${minibatch} of epoch ${epoch}.`); body() }
    },
    loss: (tell) => tell("The loss of this minibatch."),
    backward: (tell) => tell(state.every > 1 ? "Its gradient is added to those since the last update." : "Its gradient."),
    if(tell, body) {
      const due = minibatch % state.every === 0
      tell(due ? "Enough minibatches for an update." : "Not yet enough minibatches for an update.")
      if (due) body()
    },
    before: (tell) => tell("Remember how large the scaling was."),
    optimizer(tell) {
      bad = state.scaler && tried++ === BAD
      if (bad) {
        skipped.push(used.length)
        return tell("The gradient holds an infinite number: the scaler leaves this update out.")
      }
      ahead.push(ticks - used.length)
      used.push(rate())
      tell(`Update ${used.length} is made at a rate of ${show(rate())}; ${show(planned(state)[used.length - 1])} was planned for it.`)
    },
    scale: (tell) => tell(bad ? "The scaler halves its scaling: this shows that the update was left out." : "The scaling stays."),
    zero: (tell) => tell("The gradient is set to zero for the next update."),
    guard(tell, body) {
      tell(bad ? "The scaling fell, so no update was made, and the scheduler must wait." : "The scaling did not fall: an update was made.")
      if (!bad) body()
    },
    scheduler(tell) {
      ticks += 1
      tell(`The scheduler has now counted ${count(ticks, "step")} and sets the rate to ${show(rate())}.`)
    },
  }
  const indent = (i) => lines[i][1].search(/\S/)
  function block(from, to) {
    for (let i = from, end; i < to; i = end) {
      for (end = i + 1; end < to && indent(end) > indent(i);) end++
      does[lines[i][0]]?.((note) => events.push({ line: i, note, made: used.length }), () => block(i + 1, end))
    }
  }
  block(0, lines.length)
  return { lines, events, used, ahead, ticks, skipped }
}

/** Does PyTorch warn? It does if the scheduler steps before the optimizer has ever stepped. */
export const warns = ({ first, once, every }) => first === "scheduler" || (once === "minibatch" && every > 1)

// ------------------------------------------------------------------------------------ the widget

const END = 9999
const start = { first: "optimizer", once: "update", every: 1, scaler: false, guard: false, moment: END }

let last = ["", null] // the run of the last settings: the moment alone changes nothing in it
function now(state) {
  const asked = JSON.stringify({ ...state, moment: 0 })
  if (last[0] !== asked) last = [asked, run(state)]
  const { events, ...rest } = last[1]
  const moment = Math.min(state.moment, events.length)
  return { ...rest, events, moment, event: events[moment - 1], made: moment ? events[moment - 1].made : 0 }
}

const near = (a, b) => Math.abs(a - b) < 1e-9
const wrong = (state, used) => used.filter((rate, t) => !near(rate, planned(state)[t])).length

function pictures(state, width) {
  const { used, skipped, made } = now(state)
  const [goal, total] = [planned(state), updates(state)]
  const shown = used.slice(0, made).map((rate, t) => [t + 1, rate])
  const good = shown.filter(([t, rate]) => near(rate, goal[t - 1]))
  const bad = shown.filter(([t, rate]) => !near(rate, goal[t - 1]))
  return [plot({
    width, height: 270, title: title(state), x: [0.5, total + 0.5], y: [0, 0.115], xlabel: "update", ylabel: "learning rate",
    words: `The rate of each update beside the plan. ${title(state)}. ${why(state).join(" ")}`,
  }, (pen) => pen.line(goal.map((rate, t) => [t + 1, rate]), "c0 dash") + pen.note([3, PEAK], "plan", "start", "c0", 8, -3)
    + skipped.filter((t) => t < made).map((t) => pen.down(t + 0.5, "left out", "mark")).join("")
    + pen.line(bad, "c2 thin faint") + pen.dots(good, "c1", 9) + pen.dots(bad, "c2", 9))]
}

function title(state) {
  const { used } = now(state)
  const off = wrong(state, used)
  return off === 0 ? `Each of the ${count(used.length, "update")} gets the rate that was planned for it`
    : `${off} of ${count(used.length, "update")} get another rate than was planned`
}

/** Whose rates the updates get: "update 1 gets the rate of 1 step later, update 2 its own, …". */
function whose(ahead) {
  const kinds = ahead.map(Math.sign)
  const firsts = range(ahead.length).filter((t) => t === 0 || kinds[t] !== kinds[t - 1])
  return firsts.map((from, i) => {
    const to = firsts[i + 1] ?? ahead.length
    const sizes = ahead.slice(from, to).map(Math.abs)
    const [low, high] = [Math.min(...sizes), Math.max(...sizes)]
    const by = `${low < high ? `${low} to ` : ""}${count(high, "step")}`
    const who = to - from === 1 ? `update ${to} gets` : `updates ${from + 1} to ${to} get`
    return `${who} ${{ 1: `the rate of ${by} later`, 0: to - from === 1 ? "its own" : "their own", "-1": `the rate of ${by} earlier` }[kinds[from]]}`
  }).join(", ")
}

function why(state) {
  const { once, every, scaler } = state
  const { used, ahead, ticks, skipped } = now(state)
  const [got, meant] = [used[0], planned(state)[0]]
  const reasons = [near(got, meant) ? `Update 1 is made at ${show(got)}, as planned.`
    : `Update 1 is made at ${show(got)}, where ${show(meant)} was planned: the scheduler has made ${count(ahead[0], "step")} before it.`]
  reasons.push(ahead.every((by) => by === 0) ? "The scheduler steps after each update and counts what the plan counts."
    : `By the plan, ${whose(ahead)}.`)
  if (once === "epoch") reasons.push(`The plan counts updates, but the scheduler moves only once per epoch: it makes ${count(ticks, "step")} in all, for ${count(used.length, "update")}.`)
  if (once === "minibatch" && every > 1) reasons.push(`The scheduler moves with each minibatch, ${every} times as fast as the updates that the plan counts.`)
  if (scaler) reasons.push(`GradScaler leaves out what would have been update ${skipped[0] + 1}; ${guarded(state) ? "the scheduler waits with it" : "the scheduler does not notice, so each later update is one step further on in the plan"}.`)
  if (warns(state)) reasons.push("PyTorch warns once: “Detected call of `lr_scheduler.step()` before `optimizer.step()`”.")
  return reasons
}

function said(state) {
  const { event, moment, events } = now(state)
  return [...(event && moment < events.length ? [event.note] : []), `${title(state)}.`, ...why(state)]
}

function html(state) {
  const { lines, event, moment, events } = now(state)
  const here = moment < events.length ? event?.line : -1
  const text = lines.map(([, line], i) => (i === here ? `<mark>▸ ${escape(line)}</mark>` : `  ${escape(line)}`))
  return `<div class="code" role="group" aria-label="The training loop" tabindex="0">${text.join("\n")}</div>`
}

const again = { then: () => ({ moment: END }) }

export default stage({
  name: "the training loop",
  prompt: () => "Change where scheduler.step() stands. Which rate does each update really get?",
  start,
  beside: 500, // pixels that the code needs
  pictures,
  said,
  code,
  html,
  controls(state) {
    const { events, moment } = now(state)
    return [
      choice("first", "First comes", [["optimizer", "optimizer.step()"], ["scheduler", "scheduler.step()"]], again),
      choice("every", "Update after", [[1, "each minibatch"], [2, "2 minibatches"], [4, "4 minibatches"]], {
        then: (every, { once }) => ({ moment: END, once: every === 1 && once === "minibatch" ? "update" : once }),
      }),
      choice("once", "scheduler.step() once per", [["update", "update"], ...(state.every > 1 ? [["minibatch", "minibatch"]] : []), ["epoch", `epoch of ${MINIBATCHES} minibatches`]], again),
      toggle("scaler", "Mixed precision: GradScaler leaves one update out"),
      ...(state.scaler && state.first === "optimizer" && state.once === "update" ? [toggle("guard", "Step the scheduler only after real updates")] : []),
      play("moment", "Run line by line", events.length, 40),
      button("next", "Next line", () => ({ moment: moment < events.length ? moment + 1 : 1 })),
      slider("moment", "lines run", { low: 0, high: events.length, step: 1, said: (v) => `${Math.min(v, events.length)} of ${events.length}` }),
      copy("copy", "Copy this loop", code, { below: true }),
    ]
  },
})
