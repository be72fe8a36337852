// What every widget stands on: numbers in words, pictures as text, controls, and the stage itself.
//
// A widget is a few plain functions and one call, `stage({…})`. Its state is a plain object; its
// pictures are functions from the state and a width to SVG text, so that Node can draw them, too:
// that is how the still pictures are made. Nothing here knows of Jupyter or of Python. JupyterLab
// (through anywidget) and the course's pages both call `render({ model, el })`, where `model` keeps
// the state: `get`, `set`, `on`, `off`, `save_changes`.

// ------------------------------------------------------------------------------ numbers, chance

export const clamp = (value, low, high) => Math.min(high, Math.max(low, value))
export const range = (n) => Array.from({ length: n }, (_, i) => i)
export const sum = (values) => values.reduce((total, value) => total + value, 0)

/** `value` to so many significant digits, as a number. */
export const round = (value, digits = 3) => Number(value.toPrecision(digits))

/** A number as people read it: 0.25, −1.5, 12 000, 1.2e−7. */
export function show(value, digits = 3) {
  if (!Number.isFinite(value)) return value > 0 ? "∞" : "not a number"
  const short = round(value, digits)
  const size = Math.abs(short)
  const plain = size === 0 || (size >= 1e-4 && size < 1e7)
  const text = plain ? short.toLocaleString("en", { maximumSignificantDigits: digits, useGrouping: false })
    : short.toExponential().replace("+", "")
  return text.replaceAll("-", "−").replace(/(\d)(?=(\d{3})+$)/g, size >= 1e4 ? "$1\u202f" : "$1")
}

/** "1 update", "2 updates". */
export const count = (n, one, many = `${one}s`) => `${show(n, 7)} ${n === 1 ? one : many}`

/** `n` numbers of a standard normal distribution, the same ones for the same seed. */
export function normals(n, seed) {
  let state = (seed + 1) * 0x9e3779b9
  const uniform = () => { // mulberry32
    state = (state + 0x6d2b79f5) | 0
    let x = Math.imul(state ^ (state >>> 15), 1 | state)
    x = (x + Math.imul(x ^ (x >>> 7), 61 | x)) ^ x
    return ((x ^ (x >>> 14)) >>> 0) / 4294967296
  }
  return Float64Array.from({ length: n }, () => // Box and Muller
    Math.sqrt(-2 * Math.log(1 - uniform())) * Math.cos(2 * Math.PI * uniform()))
}

// ------------------------------------------------------------------------------------- pictures

export const escape = (text) =>
  String(text).replace(/[&<>"]/g, (c) => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" })[c])

const px = (value) => String(Math.round(value * 10) / 10 + 0)

/** Round numbers between `low` and `high`, about `wanted` of them; powers of ten if `log`. */
export function ticks(low, high, wanted = 5, log = false) {
  if (log) {
    const [first, last] = [Math.ceil(Math.log10(low) - 1e-9), Math.floor(Math.log10(high) + 1e-9)]
    const every = Math.max(1, Math.ceil((last - first + 1) / wanted))
    return range(last - first + 1).map((i) => first + i).filter((e) => e % every === 0).map((e) => 10 ** e)
  }
  const rough = (high - low) / wanted
  const unit = 10 ** Math.floor(Math.log10(rough))
  const step = unit * [1, 2, 5, 10].find((n) => n * unit >= rough)
  const first = Math.ceil(low / step - 1e-9)
  return range(Math.floor(high / step + 1e-9) - first + 1).map((i) => round((first + i) * step, 12))
}

/**
 * One figure with axes, as SVG text.
 *
 * `x` and `y` are [low, high]; `log` names the axes that are logarithmic; `title` is the message;
 * `words` say what the figure shows to those who cannot see it. `content` gets the pen that draws
 * into the frame, in the units of the axes, and returns SVG text.
 */
export function plot({ width, height = 250, title, words, x, y, xlabel, ylabel, log = "" }, content) {
  const lines = wrapped(title, width / 7.4)
  const [left, top, right, bottom] = [ylabel ? 58 : 12, 12 + 18 * lines.length, 12, xlabel ? 40 : 12]
  const [w, h] = [width - left - right, height - top - bottom]
  const pen = makePen(w, h, x, y, log)
  const tick = (v, axis) => escape(log.includes(axis) && (v >= 1e4 || v < 1e-3) ? power(v) : show(v))
  const across = xlabel ? ticks(...x, w / 70, log.includes("x")) : []
  const up = ylabel ? ticks(...y, 5, log.includes("y")) : []
  return `<svg class="figure" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img" aria-label="${escape(words)}" data-frame="${left} ${top} ${w} ${h}">
${lines.map((line, i) => `<text class="title" x="2" y="${16 + 18 * i}">${escape(line)}</text>`).join("")}
<g transform="translate(${left} ${top})">
${across.map((v) => `<path class="grid" d="M${px(pen.X(v))} 0V${h}"/><text class="tick" x="${px(pen.X(v))}" y="${h + 16}" text-anchor="${pen.X(v) > w - 12 ? "end" : "middle"}">${tick(v, "x")}</text>`).join("")}
${up.map((v) => `<path class="grid" d="M0 ${px(pen.Y(v))}H${w}"/><text class="tick" x="-6" y="${px(pen.Y(v) + 4)}" text-anchor="end">${tick(v, "y")}</text>`).join("")}
${xlabel ? `<text class="axis" x="${w / 2}" y="${h + 35}" text-anchor="middle">${escape(xlabel)}</text>` : ""}
${ylabel ? `<text class="axis" transform="translate(-46 ${h / 2}) rotate(-90)" text-anchor="middle">${escape(ylabel)}</text>` : ""}
<svg width="${w}" height="${h}">${content(pen)}</svg>
<path class="frame" d="M0 0V${h}H${w}"/>
</g></svg>`
}

/** Words in lines of at most so many letters. */
const wrapped = (text, most) => text.split(" ").reduce((lines, word) => {
  const longer = `${lines.at(-1)} ${word}`.trim()
  return longer.length <= most ? [...lines.slice(0, -1), longer] : [...lines, word]
}, [""]).filter(Boolean)

const power = (v) => {
  const exponent = String(Math.round(Math.log10(v)))
  return "10" + exponent.replace(/./g, (c) => (c === "-" ? "⁻" : "⁰¹²³⁴⁵⁶⁷⁸⁹"[c]))
}

/** From the units of the axes to pixels, and what can be drawn with that. */
function makePen(w, h, [x0, x1], [y0, y1], log) {
  const scale = (low, high, to, logarithmic) => {
    const f = logarithmic ? (v) => Math.log10(Math.max(v, 1e-300)) : (v) => v
    return (v) => clamp((to * (f(v) - f(low))) / (f(high) - f(low)), -1e4, 1e4) // beyond: off the paper
  }
  const X = scale(x0, x1, w, log.includes("x"))
  const up = scale(y0, y1, h, log.includes("y"))
  const Y = (v) => h - up(v)
  const at = ([x, y]) => `${px(X(x))} ${px(Y(y))}`
  const finite = (points) => points.filter(([x, y]) => Number.isFinite(x) && Number.isFinite(y))
  const path = (looks, d, more = "") => (d ? `<path class="${looks}" d="${d}"${more}/>` : "")
  const joined = (points) => (points.length ? `M${points.map(at).join("L")}` : "")
  return {
    X, Y, w, h,
    line: (points, looks = "c1") => path(`line ${looks}`, joined(finite(points))),
    steps: (points, looks = "c1") => path(`line ${looks}`, points.map(([x, y], i) =>
      (i ? `H${px(X(x))}V` : `M${px(X(x))} `) + px(Y(y))).join("")),
    dots: (points, looks = "c1", size = 7) =>
      path(`dots ${looks}`, finite(points).map((p) => `M${at(p)}h0`).join(""), ` stroke-width="${size}"`),
    ring: ([x, y], a, b = a, turn = 0, looks = "level") => { // an ellipse, in the units of the axes
      const round = range(73).map((i) => (i * Math.PI) / 36).map((angle) => [a * Math.cos(angle), b * Math.sin(angle)])
      return `<path class="${looks}" d="M${round.map(([u, v]) => at([x + u * Math.cos(turn) - v * Math.sin(turn), y + u * Math.sin(turn) + v * Math.cos(turn)])).join("L")}Z"/>`
    },
    across: (v, name) => `<path class="mark" d="M0 ${px(Y(v))}H${w}"/><text class="note" x="${w - 4}" y="${px(Y(v) - 5)}" text-anchor="end">${escape(name)}</text>`,
    down: (v, name = "", looks = "mark", row = 0) => `<path class="${looks}" d="M${px(X(v))} 0V${h}"/><text class="note" x="${px(X(v) + (X(v) > w * 0.7 ? -4 : 4))}" y="${13 + 15 * row}" text-anchor="${X(v) > w * 0.7 ? "end" : "start"}">${escape(name)}</text>`,
    note: ([x, y], text, anchor = "start", looks = "", dx = 0, dy = 0) =>
      `<text class="note ${looks}" x="${px(X(x) + dx)}" y="${px(Y(y) + dy)}" text-anchor="${anchor}">${escape(text)}</text>`,
    handle: (point) => `<circle class="handle" cx="${px(X(point[0]))}" cy="${px(Y(point[1]))}" r="10"/>`,
  }
}

// Colours: Okabe and Ito's, a little darker on white so that they also serve as letters. A widget
// follows JupyterLab's theme or the page's; where there is neither, the machine's.
export const LIGHT = "--paper:#fff;--ink:#1f2328;--soft:#57606a;--grid:#e3e7eb;--edge:#8c959f;--c1:#0067a3;--c2:#b54708;--c3:#00704f;--c4:#a0427c;--well:#f3f5f7"
const DARK = "--paper:#14181d;--ink:#e6edf3;--soft:#a9b4bf;--grid:#2b323a;--edge:#7d8893;--c1:#6cb6ff;--c2:#ffa266;--c3:#57d3a8;--c4:#eaa3d3;--well:#1d232b"
export const LOOKS = `
.figure { font: 13px system-ui, sans-serif; background: var(--paper); display: block; max-width: 100%; height: auto; }
.figure text { fill: var(--ink); } .figure .title { font-weight: 600; } .figure .tick, .figure .axis { fill: var(--soft); }
.figure text.note { paint-order: stroke; stroke: var(--paper); stroke-width: 3px; }
.grid { stroke: var(--grid); } .frame { stroke: var(--edge); fill: none; } .level { fill: none; stroke: var(--edge); stroke-opacity: .55; }
.mark { stroke: var(--soft); stroke-dasharray: 3 3; fill: none; } .land { stroke: var(--soft); fill: none; stroke-width: 2; }
.line { fill: none; stroke: currentColor; stroke-width: 2; stroke-linejoin: round; } .line.thin { stroke-width: 1.2; } .line.dash { stroke-dasharray: 7 4; }
.dots { fill: none; stroke: currentColor; stroke-linecap: round; } .area { fill: currentColor; fill-opacity: .16; } .faint { opacity: .55; }
.c0 { color: var(--soft); } .c1 { color: var(--c1); } .c2 { color: var(--c2); } .c3 { color: var(--c3); } .c4 { color: var(--c4); }
.figure text.c1 { fill: var(--c1); } .figure text.c2 { fill: var(--c2); } .figure text.c3 { fill: var(--c3); } .figure text.c4 { fill: var(--c4); } .figure text.c0 { fill: var(--soft); }
.handle { fill: var(--c2); stroke: var(--paper); stroke-width: 2; cursor: grab; touch-action: none; }`
const STYLE = `.lr { ${LIGHT}; background: var(--paper); color: var(--ink); border: 1px solid var(--edge); border-radius: 6px; padding: .8rem 1rem; margin: .3rem 0; font: 15px/1.5 system-ui, sans-serif; max-width: 960px; box-sizing: border-box; color-scheme: light; }
html[data-theme=dark] .lr, body[data-jp-theme-light=false] .lr { ${DARK}; color-scheme: dark; }
@media (prefers-color-scheme: dark) { html:not([data-theme]) body:not([data-jp-theme-light]) .lr { ${DARK}; color-scheme: dark; } }
@media print { html .lr.lr { ${LIGHT}; break-inside: avoid; } .lr .controls { display: none; } }
.lr p { margin: 0 0 .6rem; } .lr .prompt { font-weight: 600; }
.lr .controls { display: flex; flex-wrap: wrap; gap: .5rem 1.4rem; margin: 0 0 .7rem; align-items: start; }
.lr .control { display: block; min-width: 0; max-width: 100%; } .lr .control.wide, .lr .rule { flex-basis: 100%; } .lr .rule { font-weight: 600; margin: .2rem 0 -.3rem; }
.lr .slider { flex: 1 1 200px; max-width: 300px; position: relative; }
.lr .slider > span { display: flex; justify-content: space-between; gap: .6rem; } .lr .value { font-variant-numeric: tabular-nums; font-weight: 600; white-space: nowrap; }
.lr input[type=range] { display: block; width: 100%; height: 1.5rem; margin: 0; accent-color: var(--c1); cursor: pointer; }
.lr .marks { position: relative; height: 1rem; margin: -.2rem 8px 0; font-size: 12px; color: var(--soft); } .lr .marks i { position: absolute; transform: translateX(-50%); font-style: normal; white-space: nowrap; line-height: 1rem; } .lr .marks i::before { content: ""; position: absolute; left: 50%; top: -.3rem; height: .35rem; border-left: 2px solid var(--c2); }
.lr fieldset { border: 0; padding: 0; margin: 0; min-width: 0; display: flex; flex-wrap: wrap; flex-basis: 100%; } .lr legend { display: contents; } .lr legend b { font-weight: 400; font-size: 15px; margin-right: .8rem; line-height: 1.5rem; } .lr fieldset label { margin-right: 1.1rem; } .lr fieldset label, .lr .switch { min-height: 1.7rem; display: inline-flex; gap: .35rem; align-items: center; cursor: pointer; }
.lr input[type=number] { font: inherit; color: var(--ink); background: var(--well); border: 1px solid var(--edge); border-radius: 4px; flex: none; width: 6rem; height: 1.7rem; padding: 0 .3rem; text-align: right; }
.lr input[type=radio], .lr input[type=checkbox] { width: 1.05rem; height: 1.05rem; margin: 0; accent-color: var(--c1); flex: none; }
.lr button, .lr select { font: inherit; color: var(--ink); background: var(--well); border: 1px solid var(--edge); border-radius: 4px; padding: .2rem .7rem; min-height: 2rem; cursor: pointer; max-width: 100%; } .lr [aria-disabled=true] { opacity: .5; cursor: default; } .lr .play { background: var(--c1); color: var(--paper); border-color: var(--c1); font-weight: 600; }
.lr :is(button, select, input, .code):focus-visible { outline: 3px solid var(--c2); outline-offset: 2px; }
/* Who reaches a control by Tab sees the pictures, too. */
.lr .controls :is(button, select, input) { scroll-margin: 1rem 0 30rem; } .lr .said ~ .controls :is(button, select, input) { scroll-margin: 30rem 0 1rem; }
.lr .halves { display: flex; flex-wrap: wrap; gap: 0 12px; } .lr .more { min-width: 0; flex: 1 1 100%; } .lr .figures + .more:empty { display: none; } .lr .halves:has(.beside) .more { flex: 1 1 0; }
.lr .figures { display: flex; flex-wrap: wrap; gap: 12px; margin: 0 0 .6rem; align-items: flex-start; }
.lr .code { white-space: pre; font: 13px/1.5 ui-monospace, monospace; background: var(--well); color: var(--ink); border: 1px solid var(--grid); border-radius: 4px; padding: .5rem .7rem; margin: 0 0 .6rem; overflow: auto; max-height: 22rem; white-space: pre; tab-size: 4; }
.lr .said { margin: 0 0 .6rem; } .lr .controls:empty { display: none; } .lr .unseen { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }
.lr .unseen-box { position: relative; } .lr mark { background: var(--c1); color: var(--paper); } .lr table { border-collapse: collapse; font-size: 14px; margin: 0 0 .6rem; } .lr td, .lr th { padding: .1rem .7rem .1rem 0; text-align: left; vertical-align: top; background: none; color: inherit; border: 0; }`

// ------------------------------------------------------------------------------------- controls
// Each is a description: what it is called and which part of the state it moves. A key may be a
// path: "parts.0.length". The stage builds them, keeps them up to date and listens to them. Those
// with `below: true` stand below the pictures; `about` joins the name that is read aloud, where
// several would have the same ("from, part 2").

/**
 * A slider. `marks` are [[value, name], …] below it, each a place where it stops; `said` are words for
 * its value, `typed` lets one type it, too; `through` are two functions, from the state's value to the
 * slider's and back; `then` gives what else changes.
 */
export const slider = (key, label, options) => ({ kind: "slider", key, label, said: show, ...options })
/** One of a few, as radio buttons; of many, as a list. `then` gives what else changes with it. */
export const choice = (key, label, values, options) => ({ kind: "choice", key, label, values, ...options })
export const toggle = (key, label, options) => ({ kind: "toggle", key, label, ...options })
/** A button; `then` gives what changes. `off` says why it does nothing now: it keeps the focus then. */
export const button = (key, label, then, options) => ({ kind: "button", key, label, then, ...options })
/** Plays `key` from 0 to `to` within some seconds; with reduced motion, one step for each press. */
export const play = (key, label, to, seconds = 6, options = {}) => ({ kind: "play", key, label, to, seconds, ...options })
/** Copies `text(state)`. */
export const copy = (key, label, text, options) => ({ kind: "copy", key, label, text, ...options })
/** A heading between controls. */
export const rule = (key, label, options) => ({ kind: "rule", key, label, ...options })

const get = (state, path) => path.split(".").reduce((at, key) => at?.[key], state)
function put(state, path, value) { // a changed copy
  const [first, ...rest] = path.split(".")
  const changed = Array.isArray(state) ? [...state] : { ...state }
  changed[first] = rest.length ? put(state[first], rest.join("."), value) : value
  return changed
}

function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag)
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== undefined && value !== false) element.setAttribute(name, value === true ? "" : value)
  }
  element.append(...children)
  return element
}
const named = ({ label, about }) => (about ? `${label}, ${about}` : label)
// JupyterLab keeps keys such as arrows and Enter to itself, unless the element itself says so.
const KEYS = { "data-lm-suppress-shortcuts": "true" }

const POSITIONS = 200 // of a slider that is logarithmic
const AS_IT_IS = [(value) => value, (value) => value]
const builders = {
  slider(control, use) {
    const input = make("input", { type: "range", ...KEYS })
    const typed = control.typed && make("input", { type: "number", ...KEYS })
    const output = typed || make("span", { class: "value", "aria-hidden": "true" })
    const marks = make("div", { class: "marks", "aria-hidden": "true" })
    let now = control
    const position = (v) => (now.log ? (POSITIONS * Math.log(v / now.low)) / Math.log(now.high / now.low) : v)
    function here() { // the value at which the slider stands
      const { low, high, log, step, digits = 3, marks = [] } = now
      const [at, half] = [Number(input.value), input.step / 2]
      const mark = marks.find(([v]) => at - position(v) > -half && at - position(v) <= half)
      const value = log ? round(low * (high / low) ** (at / POSITIONS), digits) : round(at, 12)
      return mark ? mark[0] : step === 1 ? Math.round(value) : value
    }
    function change(value) {
      const next = put(use.state, now.key, (now.through ?? AS_IT_IS)[1](value))
      use({ ...next, ...now.then?.(next, use.state) })
    }
    input.addEventListener("input", () => change(here()))
    if (typed) typed.addEventListener("change", () => {
      const { low, high, step, key } = now
      const [asked, before] = [typed.valueAsNumber, get(use.state, key)]
      const value = Number.isNaN(asked) ? before : clamp(step === 1 ? Math.round(asked) : asked, low, high)
      typed.value = value
      if (value !== before) change(value)
      if (value !== asked) use.announce(`It is ${value}: it can be ${low} to ${high}.`)
    })
    return {
      element: make(typed ? "div" : "label", { class: "control slider" }, make("span", {}, make("span", { class: "name" }), output), input, marks),
      update(control, state, element) {
        now = control
        const { low, high, log, step = (high - low) / 200, said, through: [into] = AS_IT_IS } = control
        const value = into(get(state, control.key))
        Object.assign(input, { min: log ? 0 : low, max: log ? POSITIONS : high, step: log ? 1 : step })
        if (here() !== value) input.value = position(value) // else an arrow could be undone by rounding
        input.setAttribute("aria-label", named(control))
        input.setAttribute("aria-valuetext", said(value))
        if (typed) {
          typed.step = step === 1 ? 1 : 10 ** (Math.floor(Math.log10(value)) - 1)
          typed.setAttribute("aria-label", `${named(control)}, as a number`)
          if (Number(typed.value) !== value) typed.value = value
        } else output.textContent = said(value)
        element.querySelector(".name").textContent = control.label
        const share = (v) => (position(v) - input.min) / (input.max - input.min)
        const shown = (control.marks ?? []).filter(([v]) => share(v) >= 0 && share(v) <= 1)
        marks.hidden = !control.marks
        marks.replaceChildren(...shown.map(([v, name]) => make("i", { style: `left:${100 * share(v)}%` }, name)))
      },
    }
  },
  choice(control, use) {
    let now = control
    const pick = (value) => use({ ...put(use.state, now.key, value), ...now.then?.(value, use.state) })
    if (control.values.length > 5 || control.list) {
      const select = make("select", { "aria-label": named(control), ...KEYS }, ...control.values.map(([value, name]) => make("option", { value }, name)))
      select.addEventListener("change", () => pick(select.value))
      return {
        element: make("label", { class: "control" }, `${control.label} `, select),
        update(control, state) { now = control; select.value = get(state, control.key) },
      }
    }
    const name = `lr${Math.random().toString(36).slice(2)}`
    const inputs = control.values.map(([value]) => {
      const input = make("input", { type: "radio", name, ...KEYS })
      input.addEventListener("change", () => pick(value))
      return input
    })
    return {
      element: make("fieldset", { class: "control", "aria-label": named(control) }, make("legend", {}, make("b", {}, `${control.label}:`)), ...control.values.map(([, name], i) => make("label", {}, inputs[i], name))),
      update(control, state) {
        now = control
        control.values.forEach(([value], i) => { inputs[i].checked = get(state, control.key) === value })
      },
    }
  },
  toggle(control, use) {
    const input = make("input", { type: "checkbox", ...KEYS })
    input.addEventListener("change", () => use(put(use.state, control.key, input.checked)))
    return {
      element: make("label", { class: "control switch" }, input, make("span", {}, control.label)),
      update(control, state) { input.checked = get(state, control.key) },
    }
  },
  button(control, use) {
    const element = make("button", { type: "button", class: "control", ...KEYS })
    let now = control
    element.addEventListener("click", () => (now.off ? use.announce(now.off) : use({ ...use.state, ...now.then(use.state) })))
    return {
      element,
      update(control) {
        now = control
        element.textContent = control.label
        element.title = control.off ?? ""
        element.setAttribute("aria-disabled", Boolean(control.off))
      },
    }
  },
  play(control, use) {
    const element = make("button", { type: "button", class: "control play", ...KEYS })
    const still = matchMedia("(prefers-reduced-motion: reduce)")
    let [now, timer, from, since] = [control, 0, 0, 0]
    const label = () => { element.textContent = still.matches ? "Next step" : timer ? "❚❚ Pause" : `▶ ${now.label}` }
    const stop = () => { cancelAnimationFrame(timer); timer = 0; label() }
    const move = (time) => {
      if (!element.isConnected) return stop()
      since ||= time
      const value = Math.min(now.to, Math.floor(from + ((time - since) / 1000 / now.seconds) * now.to))
      if (value !== get(use.state, now.key)) use(put(use.state, now.key, value))
      if (value < now.to) timer = requestAnimationFrame(move)
      else stop()
    }
    element.addEventListener("click", () => {
      if (timer) return stop()
      const at = get(use.state, now.key)
      from = at >= now.to ? 0 : at
      since = 0
      if (still.matches) use(put(use.state, now.key, from === at ? at + 1 : 0))
      else timer = requestAnimationFrame(move)
      label()
    })
    return { element, update(control) { now = control; label() }, stop }
  },
  copy(control, use) {
    const element = make("button", { type: "button", class: "control", ...KEYS }, control.label)
    let now = control
    element.addEventListener("click", async () => {
      const text = now.text(use.state)
      try { await navigator.clipboard.writeText(text) } catch { // an old browser, or no permission
        const area = make("textarea", { style: "position:fixed;top:0;opacity:0" }, text)
        element.after(area)
        area.select()
        document.execCommand("copy")
        area.remove()
        element.focus()
      }
      element.textContent = "Copied"
      use.announce("Copied.")
      setTimeout(() => { element.textContent = now.label }, 1500)
    })
    return { element, update(control) { now = control } }
  },
  rule: () => ({ element: make("div", { class: "rule" }), update({ label }, state, element) { element.textContent = label } }),
}

// -------------------------------------------------------------------------------------- the stage

/**
 * Puts a widget together.
 *
 * name       what it is called
 * prompt     state → what to do, and what to look for
 * start      the state it begins with
 * complete   state → the same with what follows from it where nothing is set (optional)
 * controls   state → list of controls
 * pictures   (state, width of one) → list of SVG texts
 * panels     how many pictures stand side by side where there is room
 * said       state → a list of sentences: what can be seen now; of those, the new ones are read aloud
 * html       state → more to show below the pictures, as HTML (optional); `beside` tells how many
 *            pixels it needs to stand beside them
 * code       state → the code that it makes: the still picture shows it, too (optional)
 * below      state → more to show below everything, as HTML (optional)
 * drag       (state, x, y) → what changes when a pointer is at (x, y) of the first picture, as shares
 *            of its frame from its lower left corner (optional)
 */
export function stage(spec) {
  const widget = { complete: (state) => state, ...spec }
  widget.render = ({ model, el }) => show_on(widget, model, el)
  widget.embed = (name) => embed(name, widget)
  return widget
}

function show_on(spec, model, el) {
  const root = make("section", { class: "lr", "aria-label": `To try: ${spec.name}` })
  const rows = [make("div", { class: "controls" }), make("div", { class: "controls" })]
  const figures = make("div", { class: "figures" })
  const [html, below] = [make("div", { class: "more" }), make("div")]
  const [prompt, said] = [make("p", { class: "prompt" }), make("p", { class: "said" })]
  const heard = make("p", { class: "unseen", "aria-live": "polite" })
  root.append(make("style", {}, STYLE + LOOKS), prompt, rows[0], make("div", { class: "halves" }, figures, html), said, rows[1], below, make("div", { class: "unseen-box" }, heard))
  el.replaceChildren(root)

  let [built, seen, told, notes, frame, quiet, width] = [[], [], null, [], 0, 0, 0]
  const state = () => spec.complete({ ...spec.start, ...model.get("state") })

  const soon = () => { frame ||= requestAnimationFrame(draw) }

  function use(next) { // a control, or a pointer, has changed the state
    model.set("state", next) // which calls `soon`
    model.save_changes()
  }
  Object.defineProperty(use, "state", { get: state })
  function speak() { // what is new, once it is quiet, and not at each pixel
    clearTimeout(quiet)
    quiet = setTimeout(() => {
      const news = [...notes, ...seen.filter((sentence) => !told.includes(sentence))]
      if (news.length) heard.textContent = news.join(" ")
      told = seen
      notes = []
    }, 400)
  }
  use.announce = (words) => { notes = [words]; speak() }
  function tell(sentences) {
    told ??= sentences // nobody reads aloud what a page begins with
    if (said.textContent !== sentences.join(" ")) speak()
    said.textContent = sentences.join(" ")
    seen = sentences
  }

  function build(list) { // new controls where others are wanted than there are
    const wanted = list.map(({ kind, key, values, below, typed }) => JSON.stringify([kind, key, values, below, typed]))
    if (wanted.join() === built.map(({ id }) => id).join()) return
    const focused = root.contains(document.activeElement) && document.activeElement
    const key = focused && built.find(({ element }) => element.contains(focused))?.key
    const old = built
    built = list.map((control, i) => old.find(({ id }) => id === wanted[i])
      ?? { ...builders[control.kind](control, use), id: wanted[i], key: control.key, below: control.below ?? false })
    for (const each of old) if (!built.includes(each)) each.stop?.()
    rows.forEach((row, i) => row.replaceChildren(...built.filter(({ below }) => below === (i === 1)).map(({ element }) => element)))
    if (!key) return
    const first = (box) => (box.matches("button") ? box : box.querySelector("input:checked, input, select, button"))
    const again = focused.isConnected ? focused : first(built.find((each) => each.key === key)?.element ?? rows[0])
    again.focus({ preventScroll: true })
  }

  function fill(box, text) { // only with something new, as it may hold the focus
    if (box.text === text) return
    const stops = () => [...box.querySelectorAll("[tabindex]")]
    const at = stops().indexOf(document.activeElement)
    box.innerHTML = box.text = text
    stops()[at]?.focus({ preventScroll: true })
  }

  function draw() {
    frame = 0
    const now = state()
    const list = spec.controls(now)
    build(list)
    list.forEach((control, i) => built[i].update(control, now, built[i].element))
    width = root.clientWidth
    const room = (width || 700) - 34
    const beside = spec.beside && room >= spec.beside + 330 ? spec.beside + 12 : 0
    const side = Math.min(spec.panels ?? 1, room >= 520 ? 9 : 1)
    figures.innerHTML = spec.pictures(now, Math.floor((room - beside - 12 * (side - 1)) / side)).join("")
    html.classList.toggle("beside", beside > 0)
    fill(html, spec.html?.(now) ?? "")
    fill(below, spec.below?.(now) ?? "")
    prompt.textContent = spec.prompt(now)
    tell(spec.said(now))
  }

  if (spec.drag) {
    const move = (event) => {
      const svg = figures.querySelector("svg")
      const box = svg.getBoundingClientRect()
      const [left, top, w, h] = svg.dataset.frame.split(" ").map((v) => (v * box.width) / svg.viewBox.baseVal.width)
      const changed = spec.drag(state(), clamp((event.clientX - box.left - left) / w, 0, 1), clamp(1 - (event.clientY - box.top - top) / h, 0, 1))
      if (changed) use({ ...state(), ...changed })
    }
    figures.addEventListener("pointerdown", (event) => {
      if (event.button || event.target.closest("svg.figure") !== figures.querySelector("svg")) return
      event.preventDefault()
      figures.setPointerCapture(event.pointerId) // the picture under it is drawn anew all the time
      figures.addEventListener("pointermove", move)
      move(event)
    })
    for (const end of ["pointerup", "pointercancel"]) figures.addEventListener(end, () => figures.removeEventListener("pointermove", move))
  }

  const resized = new ResizeObserver(() => { if (root.clientWidth !== width) soon() })
  resized.observe(el)
  model.on("change:state", soon)
  draw()
  return () => {
    resized.disconnect()
    model.off("change:state", soon)
    for (const { stop } of built) stop?.()
  }
}

/** On a page without a kernel: turns each still picture of this widget into the living one. */
function embed(name, widget) {
  for (const el of document.querySelectorAll(`.lr-widget[data-widget="${name}"]`)) {
    let state = JSON.parse(el.dataset.state)
    const listeners = new Set()
    widget.render({ el, model: {
      get: () => state,
      set(_, value) { state = value; listeners.forEach((listener) => listener()) },
      save_changes() {},
      on: (_, listener) => listeners.add(listener),
      off: (_, listener) => listeners.delete(listener),
    } })
  }
}
