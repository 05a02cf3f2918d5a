// The list of points and the strip of pictures.

import {color} from "./view.js";

const make = (tag, properties = {}, ...children) => {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
};

// Shows the points with their state in the picture; acts has select, rename, forget.
// Rows stay while the names do, so that they keep the focus and take a second click.
export function drawPoints(list, store, acts) {
  const names = JSON.stringify(store.marks.names);
  if (list.dataset.names !== names) {
    list.dataset.names = names;
    list.replaceChildren(...store.marks.names.map((name) => newRow(name, acts)));
  }
  [...list.children].forEach((row, place) => {
    const name = store.marks.names[place], point = store.here.points[name];
    const isSelected = store.selected === name;
    const dot = row.querySelector(".dot");
    dot.style.background = point ? color(place) : "transparent";
    dot.style.borderColor = point ? "" : color(place);
    row.querySelector(".state").textContent = stateOf(point, place);
    row.querySelector(".choose").setAttribute("aria-pressed", String(isSelected));
    if (isSelected && !row.classList.contains("selected"))
      row.scrollIntoView({block: "nearest"});
    row.classList.toggle("selected", isSelected);
    row.classList.toggle("absent", !point);
  });
}

function newRow(name, acts) {
  const choose = make("button", {className: "choose", title: "Double-click renames",
    onclick: () => acts.select(name), ondblclick: () => edit(choose, name, acts)},
    make("span", {className: "dot"}),
    make("span", {className: "label", textContent: name}),
    make("span", {className: "state"}));
  const rename = make("button", {className: "tool", textContent: "✎",
    onclick: () => edit(choose, name, acts)});
  rename.setAttribute("aria-label", `Rename ${name}`);
  const forget = make("button", {className: "tool", textContent: "×",
    onclick: () => acts.forget(name)});
  forget.setAttribute("aria-label", `Remove ${name} from all pictures`);
  return make("li", {}, choose, rename, forget);
}

function stateOf(point, place) {
  if (!point) return place < 9 ? `key ${place + 1}` : "";
  if (point.hidden) return "hidden";
  if (point.sure === null) return "✓";
  return point.sure ? `${Math.round(100 * point.sure)} %` : "copied";
}

function edit(button, name, acts) {
  const input = make("input", {value: name, maxLength: 100});
  input.setAttribute("aria-label", `New name of ${name}`);
  const end = (isKept) => {
    if (button.hidden !== true) return;
    button.hidden = false;
    input.remove();
    acts.rename(name, isKept ? input.value : name);
  };
  input.onblur = () => end(true);
  input.onkeydown = (event) => {
    if (event.key === "Enter" || event.key === "Escape") end(event.key === "Enter");
  };
  button.hidden = true;
  button.before(input);
  input.select();
}

// Shows a thumbnail of each picture with its state.
export function drawStrip(strip, store, show) {
  const keys = store.pictures.map((p) => p.key).join();
  if (strip.dataset.keys !== keys) {
    strip.dataset.keys = keys;
    strip.replaceChildren(...store.pictures.map((picture, place) => {
      const image = make("img", {src: `thumbnails/${picture.key}`, loading: "lazy",
        alt: picture.name});
      return make("button", {title: picture.name, onclick: () => show(place)}, image,
        make("span"));
    }));
  }
  [...strip.children].forEach((button, place) => {
    const {key} = store.pictures[place], isShown = place === store.shown;
    if (button.ariaCurrent !== String(isShown)) {
      button.setAttribute("aria-current", String(isShown));
      if (isShown) button.scrollIntoView({block: "nearest", inline: "nearest"});
    }
    const least = store.least(key), badge = button.lastChild;
    const isDone = store.isDone(key), turn = store.suggested.indexOf(key) + 1;
    const state = isDone ? "✓" : least === null ? "" : `${Math.round(100 * least)} %`;
    badge.className = isDone ? "done" : "";
    badge.textContent = turn && !isDone ? `★${turn} ${state}` : state;
  });
}

// Says what comes next, or what is odd about the picture.
export function hint(store, tool, isSearched) {
  const points = Object.entries(store.here.points);
  if (!store.pictures.length)
    return "";
  if (tool === "box") return "Drag from one corner of the object to the opposite one.";
  if (tool === "bones") return "Click two points to join them, or to part them again.";
  if (!store.marks.names.length)
    return "Click on the points to find, one after the other; rename them in the list.";
  const together = atOnePlace(points, store.picture);
  if (together.length) return `At one place: ${together.join(", ")}. Drag them apart.`;
  const machine = points.filter(([, p]) => p.sure !== null);
  if (machine.some(([, p]) => p.sure > 0)) {
    const [name, {sure}] = machine.reduce((a, b) => a[1].sure < b[1].sure ? a : b);
    const sorted = machine.map(([, p]) => p.sure).sort((a, b) => a - b);
    const why = sorted[sorted.length >> 1] < 0.3
      ? " Little is sure: this picture is unlike those marked, or needs a box (B)." : "";
    return `Least sure: ${name}, ${Math.round(100 * sure)} %.${why} Drag what is wrong, ` +
      "then accept (A).";
  }
  if (machine.length) return "Copied: drag what differs, then accept (A).";
  if (points.length && !store.here.box && isSearched)
    return points.length < 3
      ? "The object is taken to fill the picture: if it does not, draw a box (B)."
      : "The dashed box is taken for the object: if it is larger, draw a box (B).";
  if (points.length) return "Find the points in the other pictures: Find in all.";
  return "Find here (Enter), or copy from the last picture (C), or click the points.";
}

function atOnePlace(points, {width, height}) {
  const near = 0.004 * Math.max(width, height);
  const close = (p, q) => Math.hypot(p.x - q.x, p.y - q.y) < near;
  return points.filter(([name, p]) => p.sure !== 0 && points.some(
    ([other, q]) => other !== name && close(p, q))).map(([name]) => name);
}
