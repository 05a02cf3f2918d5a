// The keys of the page; index.html lists them.

const BUTTONS = {
  b: "box", s: "bones", a: "accept", c: "copy", u: "least", "+": "zoom-in", "=": "zoom-in",
  "-": "zoom-out", 0: "fit", ArrowLeft: "previous", ArrowRight: "next",
};
const ARROWS = {ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1]};

// Listens; acts has press(id of a button), select(place), nudge, findHere, findAll, and
// others by key.
export function listenToKeys(acts) {
  window.addEventListener("keydown", (event) => {
    const {target, key} = event;
    if (event.altKey || target.matches("input:not([type=checkbox]), select")) return;
    const act = find(event, key.length === 1 ? key.toLowerCase() : key, acts);
    if (!act) return;
    event.preventDefault();
    act();
  });
}

function find(event, key, acts) {
  if (event.ctrlKey || event.metaKey) {
    if (key === "y" || (key === "z" && event.shiftKey)) return () => acts.press("redo");
    return key === "z" ? () => acts.press("undo") : null;
  }
  if (event.shiftKey && ARROWS[key]) return () => acts.nudge(...ARROWS[key]);
  if (key === "Enter") {
    if (event.target.matches("button, label, input")) return null;
    return event.shiftKey ? acts.findAll : acts.findHere;
  }
  if (/^[1-9]$/.test(key)) return () => acts.select(key - 1);
  if (BUTTONS[key]) return () => acts.press(BUTTONS[key]);
  return acts.others[key === "Backspace" ? "Delete" : key];
}
