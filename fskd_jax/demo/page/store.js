// Pictures and marks of the page; every change of the marks can be taken back.
// Marks are never changed in place, so that a step of the history costs little.

const MOST_UNDO = 300;

export const NOTHING = {species: "", names: [], skeleton: [], pictures: {}};
const EMPTY = {points: {}, box: null};

export class Store {
  constructor(changed) {
    this.changed = changed;
    this.pictures = [];  // {key, name, width, height}
    this.marks = NOTHING;
    this.suggested = [];  // keys, the most useful first
    this.looked = {};  // key -> box that the detector looked at
    this.shown = 0;
    this.selected = null;  // name of a point
    this.past = [];
    this.future = [];
  }

  get picture() { return this.pictures[this.shown] ?? null; }
  get key() { return this.picture?.key ?? ""; }
  get here() { return this.of(this.key); }
  of(key) { return this.marks.pictures[key] ?? EMPTY; }

  byHand(key) {
    return Object.values(this.of(key).points).some((p) => p.sure === null);
  }

  // Whether every point of a picture is a person's.
  isDone(key) {
    const points = Object.values(this.of(key).points);
    return points.length > 0 && points.every((p) => p.sure === null);
  }

  least(key) {
    const sure = Object.values(this.of(key).points).map((p) => p.sure ?? 1);
    return sure.length ? Math.min(...sure) : null;
  }

  // Replaces the marks; the last ones come back with undo().
  set(marks) {
    this.past.push([this.marks, this.key]);
    this.past.splice(0, this.past.length - MOST_UNDO);
    this.future = [];
    this.replace(marks);
  }

  // Replaces the marks as a part of the last change.
  replace(marks) {
    this.marks = marks;
    this.changed();
  }

  undo() { this.#move(this.past, this.future); }
  redo() { this.#move(this.future, this.past); }

  #move(from, to) {
    if (!from.length) return;
    to.push([this.marks, this.key]);
    const [marks, key] = from.pop();
    const place = this.pictures.findIndex((p) => p.key === key);
    if (place >= 0) this.shown = place;
    this.replace(marks);
  }

  with(key, changes, marks = this.marks) {
    const picture = {...(marks.pictures[key] ?? EMPTY), ...changes};
    return {...marks, pictures: {...marks.pictures, [key]: picture}};
  }

  place(name, x, y, isNew = true) {
    const {width, height} = this.picture;
    const clip = (value, side) => Math.min(Math.max(value, 0), side - 1);
    const old = this.here.points[name];
    const point = {x: clip(x, width), y: clip(y, height), sure: null,
      hidden: old?.hidden ?? false};
    const names = this.marks.names.includes(name)
      ? this.marks.names : [...this.marks.names, name];
    const points = {...this.here.points, [name]: point};
    const marks = this.with(this.key, {points}, {...this.marks, names});
    if (isNew) this.set(marks);
    else this.replace(marks);
  }

  // Moves the selected point by some pixels.
  nudge(dx, dy) {
    const point = this.here.points[this.selected];
    if (point) this.place(this.selected, point.x + dx, point.y + dy);
  }

  // Marks the selected point as hidden by something, or as not.
  hide() {
    const {[this.selected]: point, ...others} = this.here.points;
    if (!point) return;
    const points = {...others, [this.selected]: {...point, hidden: !point.hidden}};
    this.set(this.with(this.key, {points}));
  }

  drop(name) {
    const {[name]: _, ...points} = this.here.points;
    if (_) this.set(this.with(this.key, {points}));
  }

  // The next name that the picture lacks, after one of them; null if it has all.
  nextName(after) {
    const names = this.marks.names;
    const start = names.indexOf(after) + 1;
    const order = [...names.slice(start), ...names.slice(0, start)];
    return order.find((name) => !this.here.points[name] && name !== after) ?? null;
  }

  newName() {
    let number = this.marks.names.length + 1;
    while (this.marks.names.includes(`point ${number}`)) number++;
    return `point ${number}`;
  }

  rename(old, name) {
    name = name.trim().replace(/\s+/g, " ");
    if (!name || name === old) return;
    if (this.marks.names.includes(name)) throw Error(`There is a point “${name}” already.`);
    const change = (n) => n === old ? name : n;
    const pictures = Object.fromEntries(
      Object.entries(this.marks.pictures).map(([key, picture]) => [key, {...picture,
        points: Object.fromEntries(
          Object.entries(picture.points).map(([n, p]) => [change(n), p]))}]));
    if (this.selected === old) this.selected = name;
    this.set({...this.marks, names: this.marks.names.map(change), pictures,
      skeleton: this.marks.skeleton.map((pair) => pair.map(change))});
  }

  // Removes a point from all pictures.
  forget(name) {
    const pictures = Object.fromEntries(
      Object.entries(this.marks.pictures).map(([key, picture]) => {
        const {[name]: _, ...points} = picture.points;
        return [key, {...picture, points}];
      }));
    if (this.selected === name) this.selected = null;
    this.set({...this.marks, names: this.marks.names.filter((n) => n !== name), pictures,
      skeleton: this.marks.skeleton.filter((pair) => !pair.includes(name))});
  }

  join(one, other) {
    const same = (pair) => pair.includes(one) && pair.includes(other);
    const skeleton = this.marks.skeleton.some(same)
      ? this.marks.skeleton.filter((pair) => !same(pair))
      : [...this.marks.skeleton, [one, other]];
    this.set({...this.marks, skeleton});
  }

  // Puts what was found where no person has placed a point since.
  found(results) {
    let marks = this.marks;
    for (const [key, {points, box}] of Object.entries(results)) {
      const old = this.of(key).points;
      const kept = Object.fromEntries(
        Object.entries(points).filter(([n]) => old[n]?.sure !== null));
      marks = this.with(key, {points: {...old, ...kept}}, marks);
      this.looked[key] = box;
    }
    this.replace(marks);
  }

  accept() {
    const points = Object.fromEntries(Object.entries(this.here.points).map(
      ([name, {spread, ...p}]) => [name, {...p, sure: null}]));
    this.set(this.with(this.key, {points}));
  }

  // Copies the points of the nearest earlier picture that has some; to be corrected.
  copyLast() {
    const before = this.pictures.slice(0, this.shown).reverse();
    const last = before.find((p) => Object.keys(this.of(p.key).points).length);
    if (!last) throw Error("No earlier picture has points.");
    const across = this.picture.width / last.width, down = this.picture.height / last.height;
    const copied = Object.fromEntries(
      Object.entries(this.of(last.key).points).map(([name, p]) => [name,
        {x: p.x * across, y: p.y * down, sure: 0, hidden: p.hidden}]));
    const own = Object.entries(this.here.points).filter(([, p]) => p.sure === null);
    this.set(this.with(this.key, {points: {...copied, ...Object.fromEntries(own)}}));
  }

  removePicture() {
    if (!this.picture) return;
    const {[this.key]: _, ...pictures} = this.marks.pictures;
    this.pictures = this.pictures.filter((p) => p !== this.picture);
    this.shown = Math.max(Math.min(this.shown, this.pictures.length - 1), 0);
    this.set({...this.marks, pictures});
  }

  // The marks of pictures that are there: undo may bring back others.
  sent() {
    const known = new Set(this.pictures.map((p) => p.key));
    const there = Object.entries(this.marks.pictures).filter(([key]) => known.has(key));
    return {...this.marks, pictures: Object.fromEntries(there)};
  }
}
