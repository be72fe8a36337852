// Gives each picture in a notebook the alternative text that its output carries. JupyterLab 4 reads
// the width and the height from there and drops the words, so a screen reader says nothing.
//
// It is an extension as JupyterLab loads them, short enough to need no bundler: Lab calls `init`
// with the packages that it shares, and `get` for what package.json names.
let shared
window._JUPYTERLAB ??= {}
window._JUPYTERLAB["lrcourse-alt-text"] = {
  init: (packages) => {
    shared = packages
  },
  get: async () => {
    const [rendermime] = Object.values(shared["@jupyterlab/rendermime"])
    const { RenderedImage } = (await rendermime.get())()

    class DescribedImage extends RenderedImage {
      async render(model) {
        await super.render(model)
        const words = model.metadata[this.mimeType]?.alt
        if (words) this.node.querySelector("img").alt = words
      }
    }

    const renderer = {
      id: "lrcourse-alt-text:png",
      dataType: "string",
      rank: 89, // just before Lab's own for images, which has 90
      rendererFactory: {
        safe: true,
        mimeTypes: ["image/png"],
        createRenderer: (options) => new DescribedImage(options),
      },
    }
    return () => ({ __esModule: true, default: renderer })
  },
}
