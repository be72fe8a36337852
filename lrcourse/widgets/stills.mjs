// Draws the still pictures anew: node lrcourse/widgets/stills.mjs [FOLDER]
//
// A still picture holds, as metadata, the state that it shows and the code that the widget makes.
import { readdirSync, writeFileSync } from "node:fs"
import { dirname, join } from "node:path"
import { fileURLToPath } from "node:url"
import { LIGHT, LOOKS, escape, range, sum } from "./stage.mjs"

const here = dirname(fileURLToPath(import.meta.url))
const helpers = ["stage.mjs", "stills.mjs", "schedules.mjs", "code.mjs"]
const ASKED = { cloud: [{ cuts: [150] }, { rate: 0.2, batch: 1 }], loop: [{ once: "epoch" }] } // by chapters, beside what each widget begins with

for (const file of readdirSync(here).filter((name) => name.endsWith(".mjs") && !helpers.includes(name))) {
  const name = file.replace(".mjs", "")
  const widget = (await import(`./${file}`)).default
  for (const [i, asked] of [{}, ...(ASKED[name] ?? [])].entries()) {
    writeFileSync(join(process.argv[2] ?? here, `${name}.${i ? `${i + 1}.` : ""}svg`), still(widget, asked))
  }
}

/** A widget's pictures side by side on white, as one SVG file: for print, GitHub, before the run. */
function still({ start, complete, panels = 1, pictures, code }, asked) {
  const state = complete({ ...start, ...asked })
  const width = 340 * panels + 12 * (panels - 1)
  const drawn = pictures(state, 340)
  const heights = drawn.map((svg) => Number(/height="(\d+)"/.exec(svg)[1]))
  const rows = range(Math.ceil(drawn.length / panels)).map((i) => heights.slice(i * panels, (i + 1) * panels))
  const tops = rows.map((_, i) => sum(rows.slice(0, i).map((row) => Math.max(...row) + 8)))
  const height = tops.at(-1) + Math.max(...rows.at(-1))
  const placed = drawn.map((svg, i) => svg.replace("<svg ", `<svg x="${(i % panels) * 352}" y="${tops[Math.floor(i / panels)]}" `))
  return `<svg xmlns="http://www.w3.org/2000/svg" class="lr" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}"><style>.lr { ${LIGHT}; }${LOOKS}</style><rect width="100%" height="100%" fill="#fff"/>
${placed.join("\n")}
<metadata>${escape(JSON.stringify({ state, code: code?.(state) ?? "" }))}</metadata>
</svg>
`
}
