// Pictures to take home: made by the server in the background, with progress, until they are cancelled.

import { ask, askJson, byId, element, sendJson, tell } from "./api.js";

const POLL = 300; // milliseconds

export async function order(picture, wanted) {
  const started = await sendJson(`/api/pictures/${picture.picture}/exports`, wanted);
  const bar = element("progress", { max: 1, value: 0, ariaLabel: `Progress of ${started.file}` });
  const button = element("button", { type: "button", textContent: "Cancel", ariaLabel: `Cancel ${started.file}` });
  const row = element("li", {}, element("span", { textContent: started.file, title: started.file }), button, bar);
  byId("exports").prepend(row);
  const path = `/api/exports/${started.name}`;
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
      state = await askJson(path);
    } catch (error) {
      state = { state: "failed", error: error.message };
    }
    bar.value = state.done ?? 0;
    if (state.state === "finished") {
      bar.remove();
      button.replaceWith(element("a", { href: `${path}/file`, download: state.file, textContent: "Save again" }));
      if (state.notes.length) row.append(element("span", { className: "hint", textContent: state.notes.join(", ") }));
      element("a", { href: `${path}/file`, download: state.file }).click();
      return;
    }
    if (state.state === "failed" || state.state === "cancelled") {
      bar.remove();
      button.textContent = "Remove";
      if (state.error) row.append(element("span", { className: "bad", textContent: state.error }));
      tell(state.error, true);
      return;
    }
  }
}
