// Pictures to take home: made by the server in the background, with progress, until they are cancelled. What is made is
// kept by the browser, not by the server, which may be short of memory, or started again.

import { ask, askJson, byId, element, patiently, sendJson, tell } from "./api.js";

const POLL = 300; // milliseconds
const MOST_KEPT = 16; // files that can be saved again

export async function order(picture, wanted) {
  const started = await sendJson(`api/pictures/${picture.picture}/exports`, wanted);
  const bar = element("progress", { max: 1, value: 0, ariaLabel: `Progress of ${started.file}` });
  const button = element("button", { type: "button", textContent: "Cancel", ariaLabel: `Cancel ${started.file}` });
  const row = element("li", {}, element("span", { textContent: started.file, title: started.file }), button, bar);
  const { children } = byId("exports");
  byId("exports").prepend(row);
  while (children.length > MOST_KEPT && children[MOST_KEPT].file) forget(children[MOST_KEPT]);
  const path = `api/exports/${started.name}`;
  let cancelled = false;
  button.onclick = async () => {
    cancelled = true;
    row.remove();
    await ask(path, { method: "DELETE" }).catch(() => {});
  };
  for (;;) {
    await new Promise((resolve) => setTimeout(resolve, POLL));
    if (cancelled) return;
    let state;
    try {
      state = await patiently(() => askJson(path));
      if (state.state === "finished") row.file = await patiently(async () => (await ask(`${path}/file`)).blob());
    } catch (error) {
      state = { state: "failed", error: error.message };
    }
    if (cancelled) return;
    bar.value = state.done ?? 0;
    if (state.state === "finished") {
      bar.remove();
      row.address = URL.createObjectURL(row.file);
      const link = element("a", { href: row.address, download: state.file, textContent: "Save again" });
      button.replaceWith(link);
      if (state.notes.length) row.append(element("span", { className: "hint", textContent: state.notes.join(", ") }));
      link.click();
      await ask(path, { method: "DELETE" }).catch(() => {});
      return;
    }
    if (state.state === "failed" || state.state === "cancelled") {
      bar.remove();
      button.textContent = "Remove";
      button.ariaLabel = `Remove ${started.file}`;
      if (state.error) row.append(element("span", { className: "bad", textContent: state.error }));
      tell(state.error, true);
      return;
    }
  }
}

function forget(row) {
  URL.revokeObjectURL(row.address);
  row.remove();
}
