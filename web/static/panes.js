// Viewers of one picture by several models, which zoom and pan together. Tiles that leave the view are not waited for.

import { PAUSE, ask, element, failed, withQuery } from "./api.js";

const LARGEST_LEVEL = 6; // tiles are rendered at scales up to 2 to this power
const CHECK = 8; // pixels of a checkerboard's square
const TILE = 256; // pixels of a tile's side
const tileSide = (level) => TILE * (level >= 5 ? 2 : level >= 3 ? 1.5 : 1); // as studio.py has it
const { OpenSeadragon } = window;
// Tiles that fail are told to the user, those that are not waited for any more to nobody
OpenSeadragon.console = Object.assign(Object.create(console), {
  error: (text, ...more) => String(text).startsWith("Tile %s failed to load") || console.error(text, ...more),
});
OpenSeadragon.setString("Errors.OpenFailed", "This picture cannot be opened");

/** A tile in front of a checkerboard, so that no coarser tile shows through it. Sides of tiles are whole periods. */
async function onCheckerboard(blob) {
  const image = await createImageBitmap(blob);
  const context = new OffscreenCanvas(image.width, image.height).getContext("2d");
  for (const [index, colour] of ["#fff", "#ccc"].entries()) {
    context.fillStyle = colour;
    for (let y = 0; y < image.height; y += CHECK) {
      for (let x = ((y / CHECK + index) % 2) * CHECK; x < image.width; x += 2 * CHECK) context.fillRect(x, y, CHECK, CHECK);
    }
  }
  context.drawImage(image, 0, 0);
  return context;
}

function tileSource(picture, model, other) {
  const translucent = picture.channels.endsWith("A") && !other && model !== "reference";
  const enlarged = 2 ** LARGEST_LEVEL;
  const source = new OpenSeadragon.TileSource({
    width: picture.width * enlarged,
    height: picture.height * enlarged,
    tileSize: TILE,
  });
  const above = source.maxLevel - LARGEST_LEVEL;
  const smallest = Math.max(0, Math.ceil(Math.log2(Math.max(picture.width, picture.height) / 400)));
  source.minLevel = Math.max(0, above - Math.min(8, smallest));
  source.getTileWidth = source.getTileHeight = (level) => tileSide(level - above);
  source.getTileUrl = (level, x, y) =>
    withQuery(`api/pictures/${picture.picture}/tiles/${level - above}/${x}/${y}`, { model, other, v: picture.version });
  source.waiting = new Set();
  source.downloadTileStart = async (job) => {
    const stop = new AbortController();
    job.userData.stop = stop;
    source.waiting.add(job);
    try {
      const blob = await (await ask(job.src, { signal: stop.signal })).blob();
      if (translucent) job.finish(await onCheckerboard(blob), null, "context2d");
      else job.finish(blob, null, "rasterBlob");
    } catch (error) {
      if (stop.signal.aborted) return;
      const { tile } = job;
      job.fail(error.message, null);
      failed(error);
      if (error.passing) setTimeout(() => source.again(tile), PAUSE);
    } finally {
      source.waiting.delete(job);
    }
  };
  source.downloadTileAbort = (job) => {
    source.waiting.delete(job);
    job.userData.stop?.abort();
  };
  return source;
}

function leaveInvisible(viewer, source) {
  const seen = viewer.viewport.getBounds(true);
  for (const job of [...source.waiting]) {
    const { level, x, y } = job.tile;
    const bounds = source.getTileBounds(level, x, y);
    const outside =
      bounds.x > seen.x + seen.width || bounds.x + bounds.width < seen.x ||
      bounds.y > seen.y + seen.height || bounds.y + bounds.height < seen.y;
    const tooFine = source.getLevelScale(level) * source.dimensions.x > 4 * devicePixelRatio * viewer.viewport.getContainerSize().x / seen.width;
    if (outside || tooFine) {
      const tile = job.tile;
      job.abort();
      tile.exists = true; // it may come back into view
    }
  }
}

export class Panes {
  constructor(container, onChange) {
    this.container = container;
    this.onChange = onChange;
    this.viewers = [];
    this.leading = null;
    this.kept = null;
  }

  get main() {
    return this.viewers[0];
  }

  /** Shows the picture by `panes`, each {model, other, label}, in a layout, at the same place as before. */
  show(picture, panes, layout, keep = true) {
    this.hide();
    const place = keep ? this.kept : null;
    this.container.className = layout;
    for (const [index, { model, other, label }] of panes.entries()) {
      const box = element("div", { className: "pane" }, element("span", { className: "tag", textContent: label }));
      this.container.append(box);
      this.viewers.push(this.viewer(box, tileSource(picture, model, other), label, index, place, layout));
    }
    this.picture = picture;
    [this.leading] = this.viewers; // others do as the one does that was touched last
  }

  /** Takes the viewers away; where they were is kept for those that are shown next. */
  hide() {
    if (this.main?.world.getItemCount()) this.kept = this.place(this.main, false);
    for (const viewer of this.viewers) viewer.destroy();
    this.viewers = [];
    this.container.replaceChildren();
  }

  viewer(box, source, label, index, place, layout) {
    const silent = layout === "slider" && index > 0;
    const viewer = OpenSeadragon({
      element: box,
      tileSources: source,
      drawer: "canvas",
      showNavigationControl: false,
      immediateRender: false,
      imageLoaderLimit: 6,
      maxImageCacheCount: 400,
      maxZoomPixelRatio: 1 / devicePixelRatio,
      minZoomImageRatio: 0.5,
      visibilityRatio: 0.4,
      animationTime: 0.35,
      springStiffness: 9,
      zoomPerScroll: 1.4,
      gestureSettingsMouse: { clickToZoom: false, dblClickToZoom: true },
      keyboardNavEnabled: !silent,
    });
    viewer.canvas.setAttribute("role", "application");
    viewer.canvas.setAttribute("aria-label", `${label}: arrow keys move, plus and minus zoom, 0 fits`);
    if (silent) viewer.canvas.tabIndex = -1;
    viewer.addHandler("open", () => {
      if (place) this.go(viewer, place);
      else if (index > 0) this.go(viewer, this.place());
      this.onChange();
    });
    source.again = (tile) => {
      tile.exists = true;
      if (this.viewers.includes(viewer)) viewer.world.update(true); // a redraw looks for no tiles once all have failed
    };
    viewer.addHandler("update-viewport", () => leaveInvisible(viewer, source));
    // OpenSeadragon then still changes the zoom, of each viewer on its own
    viewer.addHandler("after-resize", () => queueMicrotask(() => this.leading && this.follow(this.leading)));
    for (const event of ["canvas-press", "canvas-scroll", "canvas-key", "canvas-double-click", "canvas-pinch"]) {
      viewer.addHandler(event, () => (this.leading = viewer));
    }
    for (const event of ["zoom", "pan", "animation"]) viewer.addHandler(event, () => this.follow(viewer));
    viewer.addHandler("animation-finish", () => this.onChange());
    return viewer;
  }

  /** What a viewer shows at this moment, or when it has come to rest. */
  place(viewer = this.main, now = true) {
    return { zoom: viewer.viewport.getZoom(now), center: viewer.viewport.getCenter(now) };
  }

  go(viewer, { zoom, center }) {
    viewer.viewport.zoomTo(zoom, null, true);
    viewer.viewport.panTo(center, true);
  }

  follow(viewer) {
    if (viewer !== this.leading) return;
    for (const other of this.viewers) {
      if (other !== viewer && other.world.getItemCount()) this.go(other, this.place(viewer));
    }
    this.onChange();
  }

  lead() {
    this.leading = this.main;
    return this.main;
  }

  /** Screen pixels per pixel of the picture. */
  scale() {
    const { viewport } = this.main;
    return (viewport.getContainerSize().x * viewport.getZoom(true) * devicePixelRatio) / this.picture.width;
  }

  zoomTo(scale) {
    const { viewport } = this.lead();
    viewport.zoomTo((scale * this.picture.width) / (viewport.getContainerSize().x * devicePixelRatio));
    viewport.applyConstraints();
  }

  zoomBy(factor) {
    const { viewport } = this.lead();
    viewport.zoomBy(factor);
    viewport.applyConstraints();
  }

  fit() {
    this.lead().viewport.goHome();
  }

  /** The part of the picture that is seen: {left, top, right, bottom} in [0, 1] of its sides. */
  part() {
    const bounds = this.main.viewport.getBounds(true);
    const tall = this.picture.height / this.picture.width;
    const inside = (value) => Math.min(1, Math.max(0, value));
    return {
      left: inside(bounds.x), right: inside(bounds.x + bounds.width),
      top: inside(bounds.y / tall), bottom: inside((bounds.y + bounds.height) / tall),
    };
  }
}
