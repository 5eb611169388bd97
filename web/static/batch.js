// Several files at once: each is opened, made and closed again, and the results are saved as one .zip.

import { ask, askJson, byId, element, patiently, tell, withQuery } from "./api.js";
import { made } from "./downloads.js";
import { zipped } from "./zip.js";

let working = null; // what is done now: {stopped}

/** Lists the files, and how they are to be made; `options` are those of the panel: endings and models. */
export function listFiles(files, { models, endings, model }) {
  stop();
  const rows = files.map((file) => element("li", {}, element("span", { textContent: file.name }), element("output")));
  byId("batch-list").replaceChildren(...rows);
  byId("batch-title").textContent = `${files.length} pictures`;
  const fill = (id, values, chosen) =>
    byId(id).replaceChildren(...values.map(([value, textContent]) => element("option", { value, textContent, selected: value === chosen })));
  fill("batch-model", models.map(({ name, label }) => [name, label]), model);
  fill("batch-ending", endings.map((ending) => [ending, ending.slice(1).toUpperCase()]), ".png");
  byId("batch-start").disabled = false;
  byId("batch-start").textContent = "Start";
  byId("batch").hidden = false;
  byId("batch-start").onclick = () => start(files, rows);
  byId("batch-close").onclick = () => {
    stop();
    byId("batch").hidden = true;
    (byId("start").hidden ? byId("open") : byId("choose")).focus();
  };
  byId("batch-start").focus();
}

function stop() {
  if (working) working.stopped = true;
  working = null;
}

async function start(files, rows) {
  const now = (working = { stopped: false });
  const [size, model, ending] = ["batch-size", "batch-model", "batch-ending"].map((id) => byId(id).value);
  byId("batch-start").disabled = true;
  const results = [];
  for (const [index, file] of files.entries()) {
    const output = rows[index].querySelector("output");
    if (now.stopped) return;
    try {
      results.push(await one(file, { size, model, ending }, (text) => (output.textContent = text), now));
      output.textContent = "Done";
    } catch (error) {
      if (now.stopped) return;
      output.textContent = error.message;
      output.className = "bad";
    }
  }
  byId("batch-start").textContent = results.length ? "Save again" : "Nothing was made";
  if (!results.length) return;
  const address = URL.createObjectURL(await zipped(results));
  const save = () => element("a", { href: address, download: "continua.zip" }).click();
  byId("batch-start").disabled = false;
  byId("batch-start").onclick = save;
  tell(`${results.length} of ${files.length} pictures are in continua.zip`);
  save();
}

/** {name, content} of one file. */
async function one(file, { size, model, ending }, say, now) {
  say("Opening …");
  const opened = await patiently(() => askJson(withQuery("api/pictures", { name: file.name }), { method: "POST", body: file }));
  try {
    const [width, height] = sizeOf(opened, size);
    const { blob, file: name } = await made(opened, { width, height, model, ending }, {
      progress: (done) => say(`${Math.round(100 * done)} %`),
      stopped: () => now.stopped,
    });
    return { name, content: new Uint8Array(await blob.arrayBuffer()) };
  } finally {
    await ask(`api/pictures/${opened.picture}`, { method: "DELETE" }).catch(() => {});
  }
}

/** [width, height] of an output: `x2` is a factor, `3840x2160` a frame to fit in, a number the long side. */
export function sizeOf({ width, height }, text) {
  const [across, down] = text.split("x").map(Number);
  let factor = down;
  if (across && down) factor = Math.min(across / width, down / height);
  else if (across) factor = across / Math.max(width, height);
  return [width, height].map((side) => Math.max(1, Math.round(side * factor)));
}
