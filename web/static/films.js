// A film: sent, made by the server in the background, and compared with what was sent under a slider.

import { askJson, byId, element, failed, withQuery } from "./api.js";
import { watched } from "./downloads.js";

let working = null; // what is shown or made now: {stopped}

/** Asks how the film is to be made. */
export function showFilm(file, { models, model }) {
  close();
  const now = (working = { stopped: false, addresses: [] });
  byId("film-title").textContent = file.name;
  byId("film-model").replaceChildren(
    ...models.map(({ name, label }) => element("option", { value: name, textContent: label, selected: name === model })),
  );
  for (const part of ["film-views", "film-split", "film-progress", "film-play", "film-save"]) byId(part).hidden = true;
  byId("film-start").hidden = byId("film").hidden = false;
  byId("film-start").disabled = false;
  byId("film-start").onclick = () => make(file, now).catch((error) => now.stopped || failed(error)).finally(() => (byId("film-start").disabled = false));
  byId("film-close").onclick = () => {
    close();
    byId("film").hidden = true;
    (byId("start").hidden ? byId("open") : byId("choose")).focus();
  };
  byId("film-start").focus();
}

function close() {
  if (!working) return;
  working.stopped = true;
  for (const video of ["film-before", "film-after"]) byId(video).removeAttribute("src");
  working.addresses.forEach((address) => URL.revokeObjectURL(address));
  working = null;
}

async function make(file, now) {
  const asked = { name: file.name, scale: byId("film-scale").value, model: byId("film-model").value };
  const bar = byId("film-progress");
  byId("film-start").disabled = true;
  bar.hidden = false;
  bar.removeAttribute("value");
  try {
    const begun = await askJson(withQuery("api/films", asked), { method: "POST", body: file });
    const made = await watched(begun, { progress: (done) => done && (bar.value = done), stopped: () => now.stopped });
    if (made) compare(file, made, now);
  } finally {
    bar.hidden = true;
  }
}

function compare(file, made, now) {
  now.addresses = [file, made.blob].map((content) => URL.createObjectURL(content));
  const [before, after] = [byId("film-before"), byId("film-after")];
  [before.src, after.src] = now.addresses;
  before.onerror = () => (byId("film-split").hidden = true); // this browser does not play what was sent
  const together = () => Math.abs(before.currentTime - after.currentTime) > 0.04 && (before.currentTime = after.currentTime);
  const play = byId("film-play");
  play.onclick = () => (after.paused ? after.play().catch(failed) : after.pause());
  after.onplay = () => {
    play.textContent = "Pause";
    before.play().catch(() => {});
  };
  after.onpause = () => {
    play.textContent = "Play";
    before.pause();
  };
  after.onseeked = after.ontimeupdate = together;
  for (const part of ["film-views", "film-split", "film-play", "film-save"]) byId(part).hidden = false;
  byId("film-start").hidden = true;
  byId("film-split").firstElementChild.oninput = ({ target }) => byId("film-views").style.setProperty("--split", `${target.value}%`);
  Object.assign(byId("film-save"), { href: now.addresses[1], download: made.file });
  play.focus();
}
