// The picture with its marks on a canvas: zoom, pan, points, box and bones.

const COLORS = ["#e69f00", "#56b4e9", "#009e73", "#f0e442", "#2f7fd0", "#ff6a3d",
  "#d184b4", "#ffffff"];  // Okabe and Ito's, which the colour-blind can tell apart
const NEAR = 12;  // pixels of the screen

export const color = (place) => COLORS[place % COLORS.length];

export class View {
  constructor(canvas, store, acts) {
    Object.assign(this, {canvas, store, acts});
    this.image = null;
    this.key = "";
    this.tool = "point";
    this.hasNames = true;
    this.drag = null;
    this.pointers = new Map();
    this.hovered = null;
    canvas.addEventListener("pointerdown", (e) => this.#down(e));
    canvas.addEventListener("pointermove", (e) => this.#move(e));
    for (const end of ["pointerup", "pointercancel"])
      canvas.addEventListener(end, (e) => this.#up(e));
    canvas.addEventListener("wheel", (e) => {
      e.preventDefault();
      this.zoom(Math.exp(-e.deltaY / 400), this.#at(e));
    }, {passive: false});
    new ResizeObserver(() => { this.fit(); }).observe(canvas);
  }

  get size() { return [this.canvas.clientWidth, this.canvas.clientHeight]; }

  async show(picture) {
    if ((picture?.key ?? "") === this.key) return this.draw();
    this.key = picture?.key ?? "";
    this.image = null;
    this.draw();
    if (!picture) return;
    const image = new Image();
    image.src = `pictures/${picture.key}`;
    await image.decode();
    if (this.key !== picture.key) return;  // another one was chosen meanwhile
    this.image = image;
    this.fit();
  }

  fit() {
    const {width, height} = this.store.picture ?? {width: 1, height: 1};
    const [w, h] = this.size;
    this.scale = Math.min(w / width, h / height) * 0.98;
    this.left = (w - width * this.scale) / 2;
    this.top = (h - height * this.scale) / 2;
    this.draw();
  }

  zoom(factor, [x, y] = this.size.map((side) => side / 2)) {
    const {width, height} = this.store.picture ?? {width: 1, height: 1};
    const least = Math.min(this.size[0] / width, this.size[1] / height) * 0.5;
    const scale = Math.min(Math.max(this.scale * factor, least), 60);
    this.left = x - (x - this.left) * scale / this.scale;
    this.top = y - (y - this.top) * scale / this.scale;
    this.scale = scale;
    this.draw();
  }

  middle() {
    return this.toImage(this.size.map((side) => side / 2));
  }

  // Pixel indices count from the centre of the first pixel.
  toImage([x, y]) {
    return [(x - this.left) / this.scale - 0.5, (y - this.top) / this.scale - 0.5];
  }

  toScreen({x, y}) {
    return [(x + 0.5) * this.scale + this.left, (y + 0.5) * this.scale + this.top];
  }

  #at(event) {
    const place = this.canvas.getBoundingClientRect();
    return [event.clientX - place.left, event.clientY - place.top];
  }

  #nearest(at) {
    let best = null, least = NEAR;
    for (const [name, point] of Object.entries(this.store.here.points)) {
      const [x, y] = this.toScreen(point);
      const distance = Math.hypot(x - at[0], y - at[1]);
      if (distance < least) [best, least] = [name, distance];
    }
    return best;
  }

  #down(event) {
    if (!this.image) return;
    this.canvas.setPointerCapture(event.pointerId);
    const at = this.#at(event);
    this.pointers.set(event.pointerId, at);
    if (this.pointers.size === 2) this.drag = null;
    else if (event.button === 1) this.drag = {kind: "pan", at, moved: true};
    else if (this.tool === "box") this.drag = {kind: "box", at, to: at};
    else {
      const name = this.#nearest(at);
      if (this.tool === "bones") return name && this.acts.bone(name);
      this.drag = name ? {kind: "point", name, at} : {kind: "pan", at};
      if (name) this.acts.select(name);
    }
  }

  #move(event) {
    const at = this.#at(event), drag = this.drag;
    const before = this.pointers.get(event.pointerId);
    if (before && this.pointers.size === 2) this.#pinch(event.pointerId, before, at);
    if (before) this.pointers.set(event.pointerId, at);
    if (!drag) {
      const name = this.image && this.#nearest(at);
      if (name !== this.hovered) { this.hovered = name; this.draw(); }
      return;
    }
    const far = Math.hypot(at[0] - drag.at[0], at[1] - drag.at[1]) > 4;
    if (!drag.moved && !far && drag.kind !== "box") return;
    if (drag.kind === "point") {
      this.store.place(drag.name, ...this.toImage(at), !drag.moved);
    } else if (drag.kind === "pan") {
      this.left += at[0] - (drag.last ?? drag.at)[0];
      this.top += at[1] - (drag.last ?? drag.at)[1];
      drag.last = at;
    } else drag.to = at;
    drag.moved = true;
    this.draw();
  }

  #pinch(id, before, at) {
    const [other] = [...this.pointers].filter(([key]) => key !== id).map(([, x]) => x);
    const length = (x) => Math.hypot(x[0] - other[0], x[1] - other[1]);
    this.zoom(length(at) / Math.max(length(before), 1), other);
  }

  #up(event) {
    const drag = this.drag, at = this.#at(event);
    this.pointers.delete(event.pointerId);
    this.drag = null;
    if (!drag || event.type === "pointercancel") return this.draw();
    if (drag.kind === "box") this.acts.box(...this.#corners(drag.at, at));
    else if (drag.kind === "pan" && !drag.moved) this.acts.click(...this.toImage(at));
    else if (drag.kind === "point" && drag.moved) this.acts.dropped();
    this.draw();
  }

  #corners(one, other) {
    const {width, height} = this.store.picture;
    const clip = (value, side) => Math.min(Math.max(value + 0.5, 0), side);
    const ends = [one, other].map((x) => this.toImage(x));
    const xs = ends.map(([x]) => clip(x, width)).sort((a, b) => a - b);
    const ys = ends.map(([, y]) => clip(y, height)).sort((a, b) => a - b);
    return [xs[0], ys[0], xs[1] - xs[0], ys[1] - ys[0]];
  }

  draw() {
    const ratio = window.devicePixelRatio || 1, [w, h] = this.size;
    this.canvas.width = Math.round(w * ratio);
    this.canvas.height = Math.round(h * ratio);
    const pen = this.canvas.getContext("2d");
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    if (!this.image) return;
    const {width, height} = this.store.picture;
    pen.imageSmoothingEnabled = this.scale < 4;
    pen.drawImage(this.image, this.left, this.top, width * this.scale, height * this.scale);
    this.#boxes(pen);
    this.#bones(pen);
    const placed = this.store.marks.names.filter((name) => this.store.here.points[name]);
    for (const name of placed) this.#point(pen, name);
    this.#names(pen, placed);
  }

  #boxes(pen) {
    const {box, points} = this.store.here, drag = this.drag;
    if (drag?.kind === "box") this.#box(pen, this.#corners(drag.at, drag.to), []);
    else if (box) this.#box(pen, box, []);
    else {
      const hand = Object.values(points).filter((p) => p.sure === null);
      const looked = this.store.looked[this.store.key];
      if (hand.length > 2) this.#box(pen, around(hand, this.store.picture), [6, 5]);
      else if (looked) this.#box(pen, looked, [2, 5]);
    }
  }

  #box(pen, [x, y, w, h], dash) {
    const place = [this.left + x * this.scale, this.top + y * this.scale,
      w * this.scale, h * this.scale];
    for (const [style, line] of [["#000a", 4], ["#fff", 1.5]]) {
      Object.assign(pen, {strokeStyle: style, lineWidth: line});
      pen.setLineDash(dash);
      pen.strokeRect(...place);
    }
    pen.setLineDash([]);
  }

  #bones(pen) {
    const points = this.store.here.points;
    for (const [a, b] of this.store.marks.skeleton) {
      if (!points[a] || !points[b]) continue;
      for (const [style, line] of [["#0009", 4], ["#fffc", 2]]) {
        Object.assign(pen, {strokeStyle: style, lineWidth: line});
        pen.beginPath();
        pen.moveTo(...this.toScreen(points[a]));
        pen.lineTo(...this.toScreen(points[b]));
        pen.stroke();
      }
    }
  }

  #point(pen, name) {
    const point = this.store.here.points[name], [x, y] = this.toScreen(point);
    const hue = color(this.store.marks.names.indexOf(name));
    const isSelected = name === this.store.selected || name === this.hovered;
    if (isSelected && point.spread) this.#ellipse(pen, x, y, point.spread, hue);
    const circle = (radius) => {
      pen.beginPath();
      pen.arc(x, y, radius, 0, 2 * Math.PI);
    };
    if (point.sure === null) {
      circle(6);
      Object.assign(pen, {fillStyle: hue, strokeStyle: "#000", lineWidth: 1.5});
      pen.fill();
      pen.stroke();
    } else {
      if (point.sure < 0.5) pen.setLineDash([4, 4]);
      for (const [style, line] of [["#000", 5], [hue, 3]]) {
        circle(7);
        Object.assign(pen, {strokeStyle: style, lineWidth: line});
        pen.stroke();
      }
      pen.setLineDash([]);
    }
    if (point.hidden) {
      Object.assign(pen, {strokeStyle: "#000", lineWidth: 2});
      pen.beginPath();
      pen.moveTo(x - 5, y - 5);
      pen.lineTo(x + 5, y + 5);
      pen.stroke();
    }
    if (isSelected) {
      circle(11);
      Object.assign(pen, {strokeStyle: "#fff", lineWidth: 2});
      pen.stroke();
    }
  }

  // Writes names beside their points, the selected one first; no two overlap, so that
  // in a crowd some are left out until one zooms in.
  #names(pen, placed) {
    if (!this.hasNames) return;
    pen.font = "600 13px system-ui, sans-serif";
    Object.assign(pen, {lineWidth: 3.5, strokeStyle: "#000c", fillStyle: "#fff",
      lineJoin: "round"});
    const isFirst = (name) => name === this.hovered || name === this.store.selected;
    const taken = [];
    for (const name of [...placed].sort((a, b) => isFirst(b) - isFirst(a))) {
      const [x, y] = this.toScreen(this.store.here.points[name]);
      const wide = pen.measureText(name).width;
      const spots = [[x + 10, y - 6], [x - 10 - wide, y - 6], [x + 10, y + 16],
        [x - 10 - wide, y + 16]];
      const isInside = ([left]) => left > 2 && left + wide < this.size[0] - 2;
      const spot = spots.filter(isInside).find(([left, low]) => taken.every(
        ([l, w, h]) => left > l + w || left + wide < l || Math.abs(low - h) > 13));
      if (!spot) continue;
      taken.push([spot[0], wide, spot[1]]);
      pen.strokeText(name, ...spot);
      pen.fillText(name, ...spot);
    }
  }

  // Where the point is with a probability of 39 %: one standard deviation.
  #ellipse(pen, x, y, [xx, xy, yy], hue) {
    const mean = (xx + yy) / 2, far = Math.hypot((xx - yy) / 2, xy);
    const [long, short] = [mean + far, Math.max(mean - far, 0)].map(Math.sqrt);
    pen.beginPath();
    pen.ellipse(x, y, long * this.scale, short * this.scale,
      Math.atan2(2 * xy, xx - yy) / 2, 0, 2 * Math.PI);
    Object.assign(pen, {strokeStyle: hue, lineWidth: 2});
    pen.stroke();
  }
}

// The box that the server takes around three points or more where none is drawn.
function around(points, {width, height}) {
  const spans = [["x", width], ["y", height]].map(([axis, side]) => {
    const values = points.map((p) => p[axis] + 0.5);
    return [Math.min(...values), Math.max(...values), side];
  });
  const margin = Math.max(0.1 * Math.max(...spans.map(([a, b]) => b - a)), 8);
  const [x, y] = spans.map(([a]) => Math.max(a - margin, 0));
  const [right, low] = spans.map(([, b, side]) => Math.min(b + margin, side));
  return [x, y, right - x, low - y];
}
