// The page: connects buttons, keys and the server with the store and the view.

import {listenToKeys} from "./keys.js";
import {drawPoints, drawStrip, hint} from "./panel.js";
import {ask, saveFile} from "./server.js";
import {NOTHING, Store} from "./store.js";
import {View} from "./view.js";

const AT_ONCE = 8;
const get = (id) => document.getElementById(id);
const store = new Store(() => redraw());
const view = new View(get("canvas"), store, 
  {select, box, bone, click: clicked, dropped: () => select(store.nextName(null))});
let file = "", version = "", saved = Promise.resolve(), storage = "fskd", running = null, joined = null, saving = null, examples = 0;

// Does something; an error is shown until the next success.
async function attempt(act) {
  try {
    await act();
    get("error").textContent = "";
  } catch (error) {
    get("error").textContent = error instanceof TypeError && !navigator.onLine
      ? "The server does not answer." : error.message;
  }
  redraw();
}

function redraw() {
  if (!store.marks.names.includes(store.selected)) store.selected = null;
  drawPoints(get("points"), store, {select, rename, forget});
  drawStrip(get("strip"), store, show);
  view.show(store.picture);
  const {picture, pictures, here, marks} = store, points = Object.values(here.points);
  get("shown").textContent = picture
    ? `${store.shown + 1} of ${pictures.length}: ${picture.name}` : "";
  get("canvas").setAttribute("aria-label", picture
    ? `${picture.name}: ${points.length} of ${marks.names.length} points` : "No picture yet");
  const isMarked = pictures.some((p) => store.byHand(p.key));
  const disabled = {
    find: !isMarked || isComplete(store.key) || !!running,
    "find-all": running ? !running.pictures
      : !isMarked || pictures.every((p) => isComplete(p.key)),
    accept: !points.some((p) => p.sure !== null), copy: store.shown < 1,
    suggest: !isMarked || !!running || pictures.every((p) => store.byHand(p.key)),
    adapt: !isMarked || !!running, least: !pictures.some((p) => (store.least(p.key) ?? 1) < 1), download: !isMarked,
    snapshot: !picture, undo: !store.past.length, redo: !store.future.length,
    clear: !points.length && !here.box, remove: !picture,
    previous: store.shown < 1, next: store.shown + 1 >= pictures.length,
    bones: marks.names.length < 2, box: !picture,
  };
  for (const [id, is] of Object.entries(disabled)) get(id).disabled = is;
  for (const [id, is] of [["box", view.tool === "box"], ["bones", view.tool === "bones"],
    ["names", view.hasNames]]) get(id).setAttribute("aria-pressed", String(is));
  get("find-all").textContent = running?.pictures ? "Stop" : "Find in all";
  get("empty").hidden = pictures.length > 0;
  get("hint").textContent = hint(store, view.tool, !get("whole").checked);
  keep();
}

// Keeps the marks in the browser, and in the server's file where there is one.
let kept = null;
function keep() {
  if (kept === store.marks && keep.pictures === store.pictures) return;
  const isFirst = kept === null;
  [kept, keep.pictures] = [store.marks, store.pictures];
  if (isFirst) return;
  const content = {marks: store.sent(), pictures: store.pictures.map((p) => p.key)};
  try {
    localStorage.setItem(storage, JSON.stringify(content));
  } catch { /* no room: the page works without */ }
  const isAny = Object.values(content.marks.pictures).some(
    (p) => p.box || Object.keys(p.points).length);
  if (!file || !isAny) return;
  clearTimeout(saving);
  get("saved").textContent = `saving ${file} …`;
  saving = setTimeout(save, 400);
}

// Writes the server's file, one version after the other. A file that somebody else has
// changed since stays as it is until the visitor chooses, or is set aside.
function save(aside = false) {
  saved = saved.then(() => attempt(async () => {
    try {
      ({version} = await ask("save", {marks: store.sent(), version, aside}));
    } catch (error) {
      if (error.status !== 409) throw error;
      get("changed").textContent = error.message;
      get("conflict").hidden = false;
      get("saved").textContent = "";
      return;
    }
    get("conflict").hidden = true;
    get("saved").textContent = `${file} is saved`;
  }));
}

// Takes the marks of the server's file; one step back brings the page's own.
function load() {
  attempt(async () => {
    const start = await ask("start", {keys: store.pictures.map((p) => p.key)});
    version = start.version;
    join(start.pictures);
    store.set(known(start.marks ?? NOTHING));
    get("conflict").hidden = true;
  });
}

// Marks without those of pictures that are not there.
function known(marks) {
  const keys = new Set(store.pictures.map((p) => p.key));
  const there = Object.entries(marks.pictures).filter(([key]) => keys.has(key));
  return {...NOTHING, ...marks, pictures: Object.fromEntries(there)};
}

function show(place) {
  if (!store.pictures[place]) return;
  store.shown = place;
  store.selected = null;
  redraw();
}

function select(name) { store.selected = name; redraw(); }
function rename(old, name) { attempt(() => store.rename(old, name)); }
function forget(name) { store.forget(name); }

function clicked(x, y) {
  const others = store.pictures.some((p) => p.key !== store.key && store.byHand(p.key));
  let name = store.selected ?? store.nextName(null);
  if (!name && others) {
    get("hint").textContent =
      "All points are placed here: select one to move it, or add a name.";
    return;
  }
  name ??= store.newName();
  const wasNew = !store.here.points[name];
  store.place(name, x, y);
  store.selected = wasNew ? store.nextName(name) : name;
  redraw();
}

function box(x, y, w, h) {
  view.tool = "point";
  if (w >= 2 && h >= 2) store.set(store.with(store.key, {box: [x, y, w, h]}));
  else if (store.here.box) store.set(store.with(store.key, {box: null}));
  redraw();
}

function bone(name) {
  if (joined && joined !== name) { store.join(joined, name); joined = null; }
  else joined = name;
  select(name);
}

function tool(kind) {
  joined = null;
  view.tool = view.tool === kind ? "point" : kind;
  redraw();
}

async function find(pictures) {
  if (running) running.isStopped = true;
  if (running || !pictures.length) return;
  const run = running = {isStopped: false, pictures};
  const bar = get("progress");
  Object.assign(bar, {hidden: false, max: pictures.length});
  bar.removeAttribute("value");
  store.set(store.marks);  // one step back takes all of it
  await attempt(async () => {
    for (let at = 0; at < pictures.length && !run.isStopped; at += AT_ONCE) {
      const keys = pictures.slice(at, at + AT_ONCE).map((p) => p.key);
      const asked = {marks: store.sent(), find: keys, whole: get("whole").checked};
      store.found(await ask("find", asked));
      bar.value = at + keys.length;
    }
  });
  running = null;
  bar.hidden = true;
  redraw();
}

function findAll() {
  find(store.pictures.filter((p) => !isComplete(p.key)));
}

function isComplete(key) {
  const points = store.of(key).points;
  return store.isDone(key) && store.marks.names.every((name) => points[name]);
}

function findHere() {
  if (store.picture && !isComplete(store.key)) find([store.picture]);
}

// Starts work on the server, and shows how far it is until it ends.
async function work(action, content) {
  if (running) return null;
  running = {};
  const bar = Object.assign(get("progress"), {hidden: false, max: 1});
  let progress = null;
  await attempt(async () => {
    await ask(action, content);
    do {
      await new Promise((wake) => setTimeout(wake, 300));
      progress = await ask("job", {});
      if (progress.part === null) bar.removeAttribute("value");
      else bar.value = progress.part;
      get("told").textContent = progress.told;
    } while (!progress.is_over);
    if (progress.error) throw Error(progress.error);
  });
  running = null;
  bar.hidden = true;
  get("told").textContent = progress?.result?.told ?? "";
  redraw();
  return progress?.result;
}

// The marks, and the pictures that nobody has marked.
function both() {
  const among = store.pictures.filter((p) => !store.byHand(p.key)).map((p) => p.key);
  return {marks: store.sent(), among, whole: get("whole").checked};
}

async function suggest() {
  const result = await work("suggest", both());
  if (!result?.next.length) return;
  store.suggested = result.next;
  show(store.pictures.findIndex((p) => p.key === result.next[0]));
  await find(store.pictures.filter((p) => result.next.includes(p.key)));
  get("told").textContent = "Label the pictures with a star next, ★1 first.";
}

function leastSure() {
  const sure = store.pictures.map((p) => store.least(p.key) ?? 2);
  show(sure.indexOf(Math.min(...sure)));
}

async function add(files) {
  await attempt(async () => {
    const problems = [];
    const first = store.pictures.length;
    for (const one of files) {
      try {
        join([await ask(`add?name=${encodeURIComponent(one.name)}`, one)]);
      } catch (error) { problems.push(error.message); }
    }
    if (store.pictures.length > first) show(first);
    if (problems.length) throw Error(problems.slice(0, 3).join(" "));
  });
}

function join(pictures) {
  const known = new Set(store.pictures.map((p) => p.key));
  store.pictures = [...store.pictures, ...pictures.filter((p) => !known.has(p.key))];
}

function download() {
  attempt(async () => {
    const kind = get("format").value;
    const blob = await ask("download", {marks: store.sent(), format: kind});
    const bytes = new Uint8Array(await blob.slice(0, 2).arrayBuffer());
    const isZip = bytes[0] === 0x50 && bytes[1] === 0x4b;
    const suffix = {coco: "json", "label-studio": "json", cvat: "xml", slp: "slp",
      "deeplabcut-h5": "h5", sleap: "h5"}[kind] ?? "csv";
    saveFile(blob, `labels_${kind}.${isZip ? "zip" : suffix}`);
  });
}

function loadExample() {
  attempt(async () => {
    const {pictures, marks} = await ask("example", {number: examples++});
    store.set(NOTHING);
    store.pictures = [];
    join(pictures);
    store.shown = 0;
    store.replace({...NOTHING, ...marks});
    await find(pictures.slice(1));
  });
}

const presses = {
  "take-theirs": load, "keep-mine": () => save(true),
  example: loadExample, find: findHere, "find-all": findAll, suggest, adapt: () => work("adapt", both()), accept: () => store.accept(),
  copy: () => attempt(() => store.copyLast()), least: leastSure, download,
  snapshot: () => get("canvas").toBlob((blob) => saveFile(blob, "picture.png")),
  previous: () => show(store.shown - 1), next: () => show(store.shown + 1),
  box: () => tool("box"), bones: () => tool("bones"),
  names: () => { view.hasNames = !view.hasNames; redraw(); },
  "zoom-in": () => view.zoom(1.4), "zoom-out": () => view.zoom(1 / 1.4),
  fit: () => view.fit(), undo: () => store.undo(), redo: () => store.redo(),
  clear: () => store.set(store.with(store.key, {points: {}, box: null})),
  remove: () => store.removePicture(),
  help: () => {
    const isHidden = get("keys").hidden = !get("keys").hidden;
    get("help").setAttribute("aria-expanded", String(!isHidden));
    view.fit();
  },
};
for (const [id, act] of Object.entries(presses)) get(id).addEventListener("click", act);

function placeInMiddle() {
  if (!store.picture) return;
  const name = store.selected ?? store.nextName(null) ?? store.newName();
  store.place(name, ...view.middle());
  select(name);
}

const others = {
  Delete: () => store.selected && store.drop(store.selected),
  h: () => store.hide(), n: () => select(store.nextName(store.selected)), p: placeInMiddle,
  Escape: () => { view.tool = "point"; joined = null; select(null); },
};
listenToKeys({press: (id) => get(id).click(), others, findHere, findAll,
  nudge: (dx, dy) => store.nudge(dx, dy),
  select: (place) => store.marks.names[place] && select(store.marks.names[place])});

get("files").addEventListener("change", (event) => {
  add([...event.target.files]).then(() => { event.target.value = ""; });
});
get("whole").addEventListener("change", redraw);
get("adding").addEventListener("submit", (event) => {
  event.preventDefault();
  const name = get("name").value.trim().replace(/\s+/g, " ");
  get("name").value = "";
  if (!name || store.marks.names.includes(name)) return;
  store.set({...store.marks, names: [...store.marks.names, name]});
  select(name);
});
window.addEventListener("paste", (event) => {
  if (event.clipboardData.files.length) add([...event.clipboardData.files]);
});
for (const kind of ["dragover", "drop", "dragleave"])
  window.addEventListener(kind, (event) => {
    event.preventDefault();
    document.body.classList.toggle("dropping", kind === "dragover");
    if (kind === "drop") add([...event.dataTransfer.files]);
  });

attempt(async () => {
  const read = () => JSON.parse(localStorage.getItem(storage) ?? "null");
  const start = await ask("start", {keys: read()?.pictures ?? []});
  if (start.folder) storage = `fskd ${start.folder}`;
  get("about").textContent = start.detector === "any_keypoints"
    ? "Mark points on one picture; find them in the others. One object in each picture. " +
      "The detector comes with the package: the more accepted pictures, the better."
    : `Mark points on one picture; find them in the others. Detector: ${start.detector}, ` +
      "good at what it was trained on.";
  get("format").replaceChildren(...start.formats.map((name) => new Option(name)));
  ({file, version} = start);
  join(start.pictures);
  const marks = start.marks ?? read()?.marks;
  if (marks && store.pictures.length) store.marks = known(marks);
  get("saved").textContent = file ? `labels are in ${file}` : "";
  if (start.problem) throw Error(start.problem);
});
