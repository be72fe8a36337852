// Draws the still pictures anew: node lrcourse/widgets/stills.mjs [FOLDER]
import { readdirSync, writeFileSync } from "node:fs"
import { dirname, join } from "node:path"
import { fileURLToPath } from "node:url"
import { still } from "./stage.mjs"

const here = dirname(fileURLToPath(import.meta.url))
const helpers = ["stage.mjs", "stills.mjs", "schedules.mjs", "code.mjs"]
for (const file of readdirSync(here).filter((name) => name.endsWith(".mjs") && !helpers.includes(name))) {
  const widget = (await import(`./${file}`)).default
  writeFileSync(join(process.argv[2] ?? here, file.replace(".mjs", ".svg")), still(widget))
}
