// A warp by hand: four corners and a handle to rotate. Coarse while a handle is dragged, sharp when it is let go.

import { ask, element, failed, tell, withQuery } from "./api.js";
import { cornersOf, isConvex, ofCorners, scaled, textOf } from "./geometry.js";

const COARSE = 1 / 3;
const MOST_KEPT = 100; // changes that can be undone
const NAMES = ["Upper left corner", "Upper right corner", "Lower right corner", "Lower left corner"];
const SVG = "http://www.w3.org/2000/svg";

export class Warp {
  constructor(box, onChange) {
    this.box = box;
    this.onChange = onChange;
    this.canvas = element("canvas");
    this.outline = document.createElementNS(SVG, "svg");
    this.outline.setAttribute("aria-hidden", "true");
    this.polygon = this.outline.appendChild(document.createElementNS(SVG, "polygon"));
    this.stem = this.outline.appendChild(document.createElementNS(SVG, "line"));
    this.handles = NAMES.map((name, index) => this.handle(name, index));
    this.turn = this.handle("Rotate", 4);
    this.turn.classList.add("turn");
    box.append(this.canvas, this.outline, ...this.handles, this.turn);
    this.working = false;
    this.wanted = null;
    this.before = []; // corners, before each change
    new ResizeObserver(() => this.picture && !box.hidden && this.resized()).observe(box);
  }

  /** Width and height of the output, in pixels of the screen. */
  size() {
    return [this.box.clientWidth, this.box.clientHeight].map((side) => Math.max(1, Math.round(side * devicePixelRatio)));
  }

  show(picture, model) {
    const fresh = this.picture?.file !== picture.file;
    this.picture = picture;
    this.model = model;
    this.box.classList.toggle("translucent", picture.channels.endsWith("A"));
    if (fresh) {
      this.corners = null;
      this.before = [];
      this.reset();
    } else this.resized();
  }

  /** Corners as they were in an output of another size, before the picture is shown. */
  recall(picture, corners, size) {
    [this.picture, this.corners, this.outputSize] = [picture, corners, size];
  }

  get canUndo() {
    return this.before.length > 0;
  }

  /** Keeps the corners, which are about to change. */
  keep() {
    if (this.corners) this.before = [...this.before.slice(1 - MOST_KEPT), this.corners.map((corner) => [...corner])];
  }

  undo() {
    if (!this.canUndo) return;
    this.corners = this.before.pop();
    this.changed(true);
  }

  reset() {
    this.keep();
    const [width, height] = this.size();
    const factor = Math.min((width * 0.72) / this.picture.width, (height * 0.68) / this.picture.height);
    const [w, h] = [this.picture.width * factor, this.picture.height * factor];
    const [x, y] = [(width - w) / 2, (height - h) / 2 + 0.03 * height];
    this.corners = [[x, y], [x + w, y], [x + w, y + h], [x, y + h]];
    this.changed(true);
  }

  resized() {
    const [width, height] = this.size();
    const [oldWidth, oldHeight] = this.outputSize ?? [width, height];
    const factor = Math.min(width / oldWidth, height / oldHeight);
    this.corners = this.corners.map(([x, y]) => [
      (x - oldWidth / 2) * factor + width / 2, (y - oldHeight / 2) * factor + height / 2,
    ]);
    this.changed(true);
  }

  /** Takes nine numbers, or says why not. */
  apply(text) {
    const matrix = text.split(/[\s,;[\]]+/).filter(Boolean).map(Number);
    const corners = matrix.length === 9 ? cornersOf(matrix, this.picture.width, this.picture.height) : [];
    if (!corners.length || !corners.flat().every(Number.isFinite) || !isConvex(corners)) {
      tell("A matrix is nine numbers, row by row, that keep the whole picture in front of the camera", true);
      return;
    }
    this.keep();
    this.corners = corners;
    this.changed(true);
  }

  get matrix() {
    return isConvex(this.corners) ? ofCorners(this.picture.width, this.picture.height, this.corners) : null;
  }

  centre() {
    return [0, 1].map((axis) => this.corners.reduce((sum, corner) => sum + corner[axis], 0) / 4);
  }

  turnHandle() {
    const [x, y] = this.centre();
    const [ax, ay] = [0, 1].map((axis) => (this.corners[0][axis] + this.corners[1][axis]) / 2);
    const length = Math.hypot(ax - x, ay - y) || 1;
    const reach = length + 44 * devicePixelRatio;
    return { stem: [ax, ay], at: [x + ((ax - x) * reach) / length, y + ((ay - y) * reach) / length] };
  }

  rotate(angle) {
    const [x, y] = this.centre();
    const [cosine, sine] = [Math.cos(angle), Math.sin(angle)];
    this.corners = this.corners.map(([px, py]) => [
      x + (px - x) * cosine - (py - y) * sine, y + (px - x) * sine + (py - y) * cosine,
    ]);
  }

  handle(name, index) {
    const button = element("button", { type: "button", className: "handle", ariaLabel: `${name}: drag, or use the arrow keys`, title: name });
    const point = (event) => {
      const box = this.box.getBoundingClientRect();
      return [(event.clientX - box.left) * devicePixelRatio, (event.clientY - box.top) * devicePixelRatio];
    };
    let from = null;
    button.addEventListener("pointerdown", (event) => {
      button.setPointerCapture(event.pointerId);
      from = point(event);
      this.keep();
    });
    button.addEventListener("pointermove", (event) => {
      if (!from) return;
      const to = point(event);
      if (index === 4) {
        const [x, y] = this.centre();
        this.rotate(Math.atan2(to[1] - y, to[0] - x) - Math.atan2(from[1] - y, from[0] - x));
      } else {
        this.corners[index] = [0, 1].map((axis) => this.corners[index][axis] + to[axis] - from[axis]);
      }
      from = to;
      this.changed(false);
    });
    for (const event of ["pointerup", "pointercancel"]) {
      button.addEventListener(event, () => {
        if (from) this.changed(true);
        from = null;
      });
    }
    button.addEventListener("keydown", (event) => {
      const step = (event.shiftKey ? 20 : 4) * devicePixelRatio;
      const move = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step] }[event.key];
      if (!move) return;
      event.preventDefault();
      if (!event.repeat) this.keep();
      if (index === 4) this.rotate(((move[0] + move[1]) / step) * (event.shiftKey ? 0.1 : 0.0175));
      else this.corners[index] = this.corners[index].map((value, axis) => value + move[axis]);
      this.changed(true);
    });
    return button;
  }

  changed(sharp) {
    this.outputSize = this.size();
    const screen = ([x, y]) => [x / devicePixelRatio, y / devicePixelRatio];
    const { stem, at } = this.turnHandle();
    const place = (button, [x, y]) => Object.assign(button.style, { left: `${x}px`, top: `${y}px` });
    this.handles.forEach((button, index) => place(button, screen(this.corners[index])));
    place(this.turn, screen(at));
    this.polygon.setAttribute("points", this.corners.map(screen).join(" "));
    [["x1", "y1"], ["x2", "y2"]].forEach((names, end) =>
      names.forEach((name, axis) => this.stem.setAttribute(name, screen([stem, at][end])[axis])));
    const { matrix } = this;
    this.box.classList.toggle("bad", !matrix);
    if (matrix) this.draw(matrix, sharp);
    this.onChange(matrix && textOf(matrix), this.outputSize, sharp);
  }

  /** One request at a time: what was asked for last is drawn next. */
  async draw(matrix, sharp) {
    this.wanted = { matrix, sharp, size: this.outputSize, picture: this.picture, model: this.model };
    if (this.working) return;
    this.working = true;
    while (this.wanted) {
      const { matrix: wanted, sharp: full, size, picture, model } = this.wanted;
      this.wanted = null;
      const factor = full ? 1 : COARSE;
      const [width, height] = size.map((side) => Math.max(1, Math.round(side * factor)));
      this.box.setAttribute("aria-busy", "true");
      try {
        const address = withQuery(`api/pictures/${picture.picture}/warp.png`, { matrix: textOf(scaled(wanted, factor)), width, height, model });
        const image = await createImageBitmap(await (await ask(address)).blob());
        [this.canvas.width, this.canvas.height] = [image.width, image.height];
        this.canvas.getContext("2d").drawImage(image, 0, 0);
        this.box.dataset.drawn = full ? "sharp" : "coarse";
      } catch (error) {
        failed(error);
      }
    }
    this.working = false;
    this.box.removeAttribute("aria-busy");
  }
}
