// On paper everyone reads dark on light.
const page = document.documentElement.dataset
let chosen
addEventListener("beforeprint", () => { chosen = page.theme; page.theme = "light" })
addEventListener("afterprint", () => { page.theme = chosen })
