// Downloads: made by the server in the background, with progress, until they are cancelled. What is made is kept by the
// browser, not by the server, which may be short of memory, or started again.

import { ask, askJson, byId, element, patiently, sendJson, tell } from "./api.js";

const POLL = 300; // milliseconds
const MOST_KEPT = 16; // files that can be saved again

/** {blob, file, notes} of what is `wanted` of a picture; null when it was `stopped`. `started` is told its description. */
export async function made(picture, wanted, { started = () => {}, progress = () => {}, stopped = () => false }) {
  const export_ = await sendJson(`api/pictures/${picture.picture}/exports`, wanted);
  started(export_);
  return watched(export_, { progress, stopped });
}

/** The same of what the server has begun to make. */
export async function watched(export_, { progress, stopped }) {
  const path = `api/exports/${export_.name}`;
  try {
    for (;;) {
      await new Promise((resolve) => setTimeout(resolve, POLL));
      if (stopped()) return null;
      const state = await patiently(() => askJson(path));
      if (state.state === "finished") {
        const blob = await patiently(async () => (await ask(`${path}/file`)).blob());
        return stopped() ? null : { blob, ...state };
      }
      if (state.state !== "waiting" && state.state !== "painting") throw new Error(state.error || "It was cancelled");
      progress(state.done);
    }
  } finally {
    await ask(path, { method: "DELETE" }).catch(() => {});
  }
}

/** Makes what is wanted, and saves it; errors in asking for it are the caller's, later ones are shown in its row. */
export async function order(picture, wanted, started) {
  let [row, cancelled] = [null, false];
  const bar = element("progress", { max: 1, value: 0 });
  const button = element("button", { type: "button", textContent: "Cancel" });
  const { children } = byId("exports");
  const begin = (described) => {
    const { file } = described;
    [bar.ariaLabel, button.ariaLabel] = [`Progress of ${file}`, `Cancel ${file}`];
    row = element("li", {}, element("span", { textContent: file, title: file }), button, bar);
    byId("exports").prepend(row);
    while (children.length > MOST_KEPT && children[MOST_KEPT].address) forget(children[MOST_KEPT]);
    started(described);
  };
  button.onclick = () => {
    cancelled = true;
    row.remove();
  };
  try {
    const result = await made(picture, wanted, { started: begin, progress: (done) => (bar.value = done), stopped: () => cancelled });
    bar.remove();
    if (!result) return;
    row.address = URL.createObjectURL(result.blob);
    const link = element("a", { href: row.address, download: result.file, textContent: "Save again" });
    const focused = document.activeElement === button;
    button.replaceWith(link);
    if (focused) link.focus();
    if (result.notes.length) row.append(element("span", { className: "hint", textContent: result.notes.join(", ") }));
    link.click();
  } catch (error) {
    if (!row) throw error;
    bar.remove();
    button.textContent = "Remove";
    button.ariaLabel = `Remove ${row.textContent}`;
    row.append(element("span", { className: "bad", textContent: error.message }));
    tell(error.message, true);
  }
}

function forget(row) {
  URL.revokeObjectURL(row.address);
  row.remove();
}
