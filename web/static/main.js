// The page: opens pictures, and lets the controls of the panel say how they are shown.

import { ask, askJson, byId, copy, element, failed, patiently, sendJson, tell, withQuery } from "./api.js";
import { listFiles, sizeOf } from "./batch.js";
import { order } from "./downloads.js";
import { showFilm } from "./films.js";
import { Panes } from "./panes.js";
import { Warp } from "./warp.js";

const SHOWN = { single: 1, slider: 2, four: 4, difference: 2, warp: 1 };
const FIRST = ["bicubic", "s", "lerf-g", "nearest"];
const REFERENCE = { name: "reference", label: "Reference" };

let catalogue;
let picture = null;
let mode = "slider";
let chosen = [...FIRST];
let matrix = null;
let warpSize = null;
let scoring = 0;
let commanding = 0;
let restoring = null; // a promise, while a picture is sent again
const LOST_AGAIN = 10_000; // milliseconds, in which a picture that is lost
const MOST_SENT = 4; // is sent again so often

const GONE = "The server no longer has this picture: open it again";
const files = new Map(); // what was opened in this tab, by the names of its pictures

const panes = new Panes(byId("views"), changed);
const warp = new Warp(byId("warp"), (text, size, sharp) => {
  matrix = text;
  warpSize = size;
  if (document.activeElement !== byId("matrix")) byId("matrix").value = text ?? "";
  byId("matrix").placeholder = "The corners cross: pull them apart";
  byId("copy-matrix").disabled = byId("save-whole").disabled = !text;
  byId("undo-warp").disabled = !warp.canUndo;
  if (sharp || !text) describeCommand();
  if (sharp) remember();
});

const offered = () => [...catalogue.models, ...(picture?.reference ? [REFERENCE] : [])];
const labelOf = (name) => offered().find((model) => model.name === name)?.label ?? name;
const shownModels = () => (mode === "single" || mode === "warp" ? [chosen[1]] : chosen.slice(0, SHOWN[mode]));

/** Sends a picture, and encodes it; `file` says how it is sent, and may be asked again. Where the server loses it
 *  meanwhile, for another tab's picture began the visitor's session, it is sent once more. */
async function send(file, attempt = 1) {
  let sent = { ...(await file.send()), file };
  tell("Encoding …");
  const model = chosen[1] === "reference" ? "bicubic" : chosen[1];
  try {
    await ask(withQuery(`api/pictures/${sent.picture}/encode`, { model }), { method: "POST" });
    if (file.reference) sent = { ...sent, ...(await sendReference(sent, file.reference)) };
  } catch (error) {
    if (!error.lost || attempt === MOST_SENT) throw error;
    return send(file, attempt + 1);
  }
  return sent;
}

async function open(file, name) {
  tell(`Opening ${name} …`);
  try {
    picture = await send(file);
  } catch (error) {
    tell(error.message, true);
    return;
  }
  tell("");
  files.set(picture.picture, file);
  history.pushState(null, "", `#${picture.picture}`);
  show();
  focusPicture();
}

/** The keyboard goes where the picture is; what it was at is hidden now. */
function focusPicture() {
  if (mode === "warp") warp.handles[0].focus();
  else panes.main?.canvas.focus();
}

/** What is seen is seen again after this tab is reloaded. */
function remember() {
  if (!picture || (mode !== "warp" && !panes.main?.world.getItemCount())) return;
  const place = mode === "warp" ? panes.kept : panes.place(panes.main, false);
  const sizes = ["width", "height", "ending", "save-model"].map((id) => [id, byId(id).value]);
  const seen = { picture: picture.picture, mode, chosen, place, split: byId("divider").getAttribute("aria-valuenow"), corners: warp.corners, of: warp.outputSize, sizes };
  sessionStorage.setItem("seen", JSON.stringify(seen));
}

/** Whether this picture was seen before the tab was reloaded, and is now again as it was. */
function recall() {
  const seen = JSON.parse(sessionStorage.getItem("seen") ?? "null");
  if (seen?.picture !== picture.picture) return false;
  ({ mode, chosen } = seen);
  document.querySelector(`[name=mode][value=${mode}]`).checked = true;
  chosen = chosen.map((name, index) => (offered().some((model) => model.name === name) ? name : FIRST[index]));
  panes.kept = seen.place && { zoom: seen.place.zoom, center: new window.OpenSeadragon.Point(seen.place.center.x, seen.place.center.y) };
  split(Number(seen.split));
  if (seen.corners) warp.recall(picture, seen.corners, seen.of);
  draw();
  for (const [id, value] of seen.sizes) byId(id).value = value;
  describeCommand();
  return true;
}

/** Shows what the address names, as after a reload and where the user goes back: a picture that the server still has,
 *  or that this page can send again, or else the start. */
async function visit() {
  const name = location.hash.slice(1);
  if (!name) close();
  if (!name || picture?.picture === name) return;
  const file = files.get(name) ?? { send: () => Promise.reject(new Error(GONE)) };
  const known = async () => ({ ...(await askJson(`api/pictures/${encodeURIComponent(name)}`)), file });
  try {
    picture = await known().catch((error) => (error.lost ? send(file) : Promise.reject(error)));
  } catch (error) {
    close();
    tell(error.message, true);
    return;
  }
  tell("");
  rename(name);
  show(true);
}

/** The picture that the address names has another name now. */
function rename(name) {
  files.set(picture.picture, picture.file);
  if (location.hash.slice(1) === name) history.replaceState(null, "", `#${picture.picture}`);
}

function close() {
  byId("start").hidden = false;
  if (["stage", "panel", "samples"].some((part) => byId(part).contains(document.activeElement))) byId("choose").focus();
  for (const part of ["panel", "samples", "tools", "views", "divider", "warp"]) byId(part).hidden = true;
  byId("title").textContent = "";
  byId("stage").classList.add("empty");
  panes.hide();
  clearTimeout(waiting);
  scoring += 1; // what was asked about the picture is not shown any more
  commanding += 1;
  picture = null;
}

function show(again = false) {
  byId("start").hidden = true;
  byId("panel").hidden = byId("samples").hidden = false;
  byId("stage").classList.remove("empty");
  const { width, height, notes } = picture;
  byId("title").textContent = [`${picture.name} · ${width} × ${height}`, ...notes].join(" · ");
  [byId("width").value, byId("height").value] = [width * 4, height * 4];
  byId("save-input").hidden = !picture.made;
  referenceChanged();
  if (!again || !recall()) draw(false);
}

/** The server has lost the picture: it was started again, or needed the memory. It is sent again, and shown in the same
 *  place; where it is lost again and again, the user decides. */
function reopen({ detail: path }) {
  if (restoring || !picture || !path.includes(picture.picture)) return;
  const { file } = picture;
  file.lost = [...(file.lost ?? []), Date.now()].filter((time) => Date.now() - time < LOST_AGAIN);
  if (file.lost.length > MOST_SENT) {
    tell("The server has dropped this picture again to free memory: open it again", true);
    return;
  }
  restoring = sendAgain(picture).finally(() => (restoring = null));
}

async function sendAgain({ file, picture: name }) {
  tell("Opening again …");
  try {
    const sent = await patiently(() => picture?.file === file && send(file));
    tell("");
    if (!sent || picture?.file !== file) return; // the user has gone on
    picture = sent;
    rename(name);
    draw();
  } catch (error) {
    tell(error.message, true);
  }
}

const shrink = () => Number(byId("shrink").value);
/** One file is opened, several are listed. */
function openFiles(given) {
  const list = [...given];
  if (list.length > 1) listFiles(list, { ...catalogue, model: catalogue.model });
  else if (list.length) openFile(list[0]);
}
function openFile(file) {
  if (file.size > catalogue.megabytes * 2 ** 20) {
    tell(`${file.name} is larger than ${catalogue.megabytes} MiB`, true);
    return undefined;
  }
  if (catalogue.films.some((ending) => file.name.toLowerCase().endsWith(ending))) return showFilm(file, catalogue);
  const path = withQuery("api/pictures", { name: file.name, shrink: shrink() });
  return open({ send: () => askJson(path, { method: "POST", body: file }) }, file.name);
}
function openSample(name) {
  const path = withQuery(`api/samples/${name}`, { shrink: shrink() });
  return open({ send: () => askJson(path, { method: "POST" }) }, name);
}
const sendReference = (to, file) =>
  askJson(withQuery(`api/pictures/${to.picture}/reference`, { name: file.name }), { method: "PUT", body: file });

function referenceChanged() {
  if (!picture.reference) chosen = chosen.map((name, index) => (name === "reference" ? FIRST[index] : name));
  else if (chosen[3] === "nearest") chosen[3] = "reference";
  byId("scores").hidden = !picture.reference;
  byId("reference-hint").hidden = picture.reference;
}

/** Shows the picture as the panel says. */
function draw(keep = true) {
  const warping = mode === "warp";
  byId("views").hidden = warping;
  byId("tools").hidden = warping;
  byId("warp").hidden = byId("warp-options").hidden = !warping;
  byId("divider").hidden = mode !== "slider";
  byId("size-row").hidden = byId("presets").hidden = warping;
  byId("save-window").hidden = warping;
  byId("save-whole").textContent = warping ? "Warped picture" : "Whole picture";
  chooseModels();
  byId("copy-matrix").disabled = byId("save-whole").disabled = warping && !matrix;
  const models = shownModels();
  if (warping) {
    panes.hide();
    warp.show(picture, models[0]);
  } else if (mode === "difference") {
    const label = `${labelOf(models[0])} − ${labelOf(models[1])}, 8 times`;
    panes.show(picture, [{ model: models[0], other: models[1], label }], mode, keep);
  } else {
    panes.show(picture, models.map((model) => ({ model, label: labelOf(model) })), mode, keep);
  }
  describeCommand();
}

function chooseModels() {
  const places = mode === "single" || mode === "warp" ? [1] : [...Array(SHOWN[mode]).keys()];
  const names = { slider: ["Left", "Right"], difference: ["This", "minus that"] }[mode] ?? ["Model"];
  const focused = [...byId("models").querySelectorAll("select")].indexOf(document.activeElement);
  byId("models").replaceChildren(
    ...places.map((place, index) => {
      const select = element("select", {}, ...options(offered(), chosen[place]));
      select.onchange = () => {
        chosen[place] = select.value;
        draw();
      };
      return element("label", {}, names[index] ?? `View ${index + 1}`, select);
    }),
  );
  if (mode === "four") byId("models").querySelector("label").firstChild.textContent = "View 1";
  byId("models").querySelectorAll("select")[focused]?.focus(); // where the keyboard was
  const saved = byId("save-model").value;
  const first = shownModels().find((name) => name === "s") ?? shownModels().at(-1);
  byId("save-model").replaceChildren(...options(catalogue.models, mode === "warp" ? shownModels()[0] : saved || first));
}

const options = (models, value) =>
  models.map(({ name, label }) => element("option", { value: name, textContent: label, selected: name === value }));

let waiting = null;

function changed() {
  if (!picture || mode === "warp") return;
  const scale = panes.scale();
  byId("zoom").textContent = `x${scale < 10 ? scale.toFixed(1) : Math.round(scale)}`;
  clearTimeout(waiting);
  waiting = setTimeout(() => {
    measure();
    remember();
  }, 350);
}

async function measure() {
  if (!picture?.reference) return;
  const turn = (scoring += 1);
  const models = mode === "four" ? chosen : shownModels();
  const rows = models.filter((name) => name !== "reference").map((name) => [name, element("tr", {}, element("th", { scope: "row", textContent: labelOf(name), title: labelOf(name) }), element("td", { textContent: "…" }), element("td", { textContent: "…" }))]);
  const body = byId("scores").tBodies[0];
  if (body.rows.length !== rows.length) body.replaceChildren(...rows.map(([, row]) => row));
  const text = ({ psnr, ssim }) => `${psnr === null ? "∞" : psnr.toFixed(2)} / ${ssim === null ? "–" : ssim.toFixed(3)}`;
  for (const [index, [name, row]] of rows.entries()) {
    try {
      const scores = await askJson(withQuery(`api/pictures/${picture.picture}/scores`, { model: name, ...panes.part() }));
      if (turn !== scoring) return;
      row.cells[1].textContent = text(scores.whole);
      row.cells[2].textContent = text(scores.window);
      body.rows[index]?.replaceWith(row);
    } catch (error) {
      failed(error);
      return;
    }
  }
}

/** What the form asks for; of the window, at the scale of the screen. */
function wanted(window = false) {
  const common = { ending: byId("ending").value, model: byId("save-model").value };
  if (mode === "warp") return { ...common, width: warpSize?.[0], height: warpSize?.[1], matrix };
  if (!window) return { ...common, width: Math.round(Number(byId("width").value)), height: Math.round(Number(byId("height").value)) };
  const scale = panes.scale();
  const [width, height] = [picture.width, picture.height].map((side) => Math.max(1, Math.round(side * scale)));
  const { left, top, right, bottom } = panes.part();
  const [x, y] = [Math.floor(left * width), Math.floor(top * height)];
  return {
    ...common, width, height,
    window: [x, y, Math.max(1, Math.round(right * width) - x), Math.max(1, Math.round(bottom * height) - y)],
  };
}

/** Shows the call that makes what the form asks for; after a download, that of the download stands there. */
async function describeCommand() {
  const turn = (commanding += 1);
  byId("copy-command").disabled = true;
  byId("command").value = "";
  if (!picture || (mode === "warp" && !matrix)) return;
  try {
    const { command } = await sendJson(`api/pictures/${picture.picture}/command`, wanted());
    if (turn === commanding) showCommand(command);
  } catch (error) {
    if (turn === commanding) byId("command").value = error.message;
  }
}

function showCommand(command) {
  commanding += 1;
  byId("command").value = command;
  byId("copy-command").disabled = false;
}

async function save(window) {
  const asked = wanted(window);
  const started = ({ command }) => showCommand(command);
  try {
    await order(picture, asked, started);
  } catch (error) {
    failed(error);
    if (!error.lost) return;
    await restoring;
    if (picture) order(picture, asked, started).catch(failed);
  }
}

function resize([width, height]) {
  [byId("width").value, byId("height").value] = [width, height];
  describeCommand();
  remember();
}

function split(percent) {
  const value = Math.min(100, Math.max(0, percent));
  byId("divider").style.left = `${value}%`;
  byId("divider").setAttribute("aria-valuenow", Math.round(value));
  byId("views").style.setProperty("--split", `${value}%`);
  remember();
}

function connect() {
  const divider = byId("divider");
  divider.addEventListener("pointerdown", (event) => divider.setPointerCapture(event.pointerId));
  divider.addEventListener("pointermove", (event) => {
    if (!divider.hasPointerCapture(event.pointerId)) return;
    const box = byId("stage").getBoundingClientRect();
    split(((event.clientX - box.left) / box.width) * 100);
  });
  divider.addEventListener("keydown", (event) => {
    const now = Number(divider.getAttribute("aria-valuenow"));
    const to = { ArrowLeft: now - 2, ArrowRight: now + 2, Home: 0, End: 100, PageUp: now + 10, PageDown: now - 10 }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    split(to);
  });

  for (const radio of document.querySelectorAll("[name=mode]")) {
    radio.onchange = () => {
      mode = radio.value;
      draw();
    };
  }
  byId("choose").onclick = byId("open").onclick = () => byId("file").click();
  byId("file").onchange = ({ target }) => {
    openFiles(target.files);
    target.value = "";
  };
  byId("samples").onclick = () => {
    history.pushState(null, "", location.pathname);
    close();
  };
  byId("reference").onclick = () => byId("reference-file").click();
  byId("reference-file").onchange = async ({ target }) => {
    const [file] = target.files;
    target.value = "";
    if (!file) return;
    try {
      const shown = picture;
      const compared = await sendReference(shown, file);
      if (picture !== shown) return; // the user has gone on
      picture = { ...shown, ...compared };
      picture.file.reference = file;
      referenceChanged();
      draw();
    } catch (error) {
      failed(error);
    }
  };
  byId("zoom-in").onclick = () => panes.zoomBy(1.5);
  byId("zoom-out").onclick = () => panes.zoomBy(1 / 1.5);
  byId("fit").onclick = () => panes.fit();
  byId("reset-warp").onclick = () => warp.reset();
  byId("undo-warp").onclick = () => warp.undo();
  addEventListener("keydown", (event) => {
    if (mode !== "warp" || event.key !== "z" || !(event.ctrlKey || event.metaKey) || event.target === byId("matrix")) return;
    event.preventDefault();
    warp.undo();
  });
  byId("apply-matrix").onclick = () => warp.apply(byId("matrix").value);
  byId("copy-matrix").onclick = ({ target }) => copy(byId("matrix").value, target);
  byId("copy-command").onclick = ({ target }) => copy(byId("command").value, target);
  byId("save-whole").onclick = () => save(false);
  byId("save-window").onclick = () => save(true);
  byId("save-input").onclick = async () => {
    try {
      const blob = await (await ask(`api/pictures/${picture.picture}/input.png`)).blob();
      const address = URL.createObjectURL(blob);
      element("a", { href: address, download: picture.name }).click();
      setTimeout(() => URL.revokeObjectURL(address), 60_000);
    } catch (error) {
      failed(error);
    }
  };
  for (const button of document.querySelectorAll("#presets button")) button.onclick = () => resize(sizeOf(picture, button.value));
  byId("long-side").oninput = ({ target }) => target.checkValidity() && target.value && resize(sizeOf(picture, target.value));
  for (const [side, other] of [["width", "height"], ["height", "width"]]) {
    byId(side).oninput = () => {
      byId(other).value = Math.max(1, Math.round((Number(byId(side).value) * picture[other]) / picture[side]));
      describeCommand();
      remember();
    };
  }
  byId("ending").onchange = byId("save-model").onchange = () => {
    describeCommand();
    remember();
  };
  const themed = document.documentElement.dataset;
  byId("theme").onclick = () => {
    const dark = themed.theme ? themed.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    themed.theme = dark ? "light" : "dark";
    localStorage.setItem("theme", themed.theme);
  };
  if (localStorage.getItem("theme")) themed.theme = localStorage.getItem("theme");
  const stage = byId("stage");
  addEventListener("dragover", (event) => {
    event.preventDefault();
    stage.classList.add("dropping");
  });
  addEventListener("dragleave", (event) => !event.relatedTarget && stage.classList.remove("dropping"));
  addEventListener("drop", (event) => {
    event.preventDefault();
    stage.classList.remove("dropping");
    openFiles(event.dataTransfer.files);
  });
  addEventListener("paste", (event) => {
    if (!event.clipboardData.files.length) return; // text, for a field
    event.preventDefault();
    openFiles(event.clipboardData.files);
  });
}

async function start() {
  catalogue = await askJson("api/catalogue");
  byId("stage").classList.add("empty");
  const shrinks = catalogue.shrinks.map((factor) => ({ name: factor, label: factor === 1 ? "nothing" : `${factor}, then restore` }));
  byId("shrink").append(...options(shrinks, 1));
  byId("ending").append(...options(catalogue.endings.map((ending) => ({ name: ending, label: ending.slice(1).toUpperCase() })), ".png"));
  byId("limits").textContent = `Pictures of up to ${Math.floor(catalogue.megapixels)} megapixels and ${catalogue.megabytes} MiB.`;
  byId("sample-list").append(
    ...catalogue.samples.map((name) => {
      const image = element("img", { src: `api/samples/${name}`, alt: "", loading: "lazy" });
      const button = element("button", { type: "button" }, image, element("span", { textContent: name.split(".")[0] }));
      button.onclick = () => openSample(name);
      return element("li", {}, button);
    }),
  );
  connect();
  addEventListener("lost", reopen);
  addEventListener("popstate", visit);
  if (location.hash) visit();
  window.continua = { panes, warp, get picture() { return picture; } };
}

start().catch(failed);
