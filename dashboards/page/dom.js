// Elements by hand. Whatever comes from outside becomes text or an attribute, never markup (P5: one hostile name harms
// nobody); a style attribute would be refused by the page's own policy.

const SVG = "http://www.w3.org/2000/svg";

export const byId = (id) => document.getElementById(id);

/** Makes an HTML element. `props`: attributes, `class`, `text`, `on` (event to handler); null and false are left out. */
export const el = (name, props, ...children) => fill(document.createElement(name), props, children);

/** Makes an SVG element. */
export const svg = (name, props, ...children) => fill(document.createElementNS(SVG, name), props, children);

function fill(node, props, children) {
  for (const [key, value] of Object.entries(props || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (key === "text") node.textContent = value;
    else if (key === "on") for (const [event, handler] of Object.entries(value)) node.addEventListener(event, handler);
    else node.setAttribute(key, value === true ? "" : value);
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return node;
}

/** Writes a text only where it differs, so that nothing is read out or laid out anew for nothing. */
export function write(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

export function attribute(node, name, value) {
  if (value === null || value === false) node.removeAttribute(name);
  else if (node.getAttribute(name) !== String(value)) node.setAttribute(name, value);
}

/** Brings the children of `parent` in line with `items`; a child of the same key stays, and with it focus and place. */
export function keyed(parent, items, { key, make, update }) {
  const known = new Map([...parent.children].map((child) => [child.key, child]));
  let at = parent.firstElementChild;
  for (const item of items) {
    const name = key(item);
    let child = known.get(name);
    if (child) known.delete(name);
    else {
      child = make(item);
      child.key = name;
    }
    update(child, item);
    if (child === at) at = at.nextElementSibling;
    else parent.insertBefore(child, at);
  }
  for (const child of known.values()) child.remove();
}

/** Returns how many pixels the root's font size is: what is drawn grows with the wall as the text does. */
export const rem = () => parseFloat(getComputedStyle(document.documentElement).fontSize) || 16;

/** Calls `draw(width, height)` now and whenever the size of `node` changes. */
export function sized(node, draw) {
  const seen = new ResizeObserver(() => draw(node.clientWidth, node.clientHeight));
  seen.observe(node);
}

/** A row of buttons of which one is on. Returns the element and a function that shows another choice. */
export function choice(label, options, onChoose) {
  const group = el("div", { class: "choice", role: "group", "aria-label": label });
  const buttons = options.map(([value, text]) => {
    const button = el("button", { type: "button", text, on: { click: () => onChoose(value) } });
    group.append(button);
    return [value, button];
  });
  const show = (chosen) => {
    for (const [value, button] of buttons) attribute(button, "aria-pressed", value === chosen);
  };
  return [group, show];
}

/** A select with a label for readers of the screen; its options are replaced only where they differ. */
export function picker(label, onPick) {
  const select = el("select", { "aria-label": label, on: { change: () => onPick(select.value) } });
  const show = (options, chosen) => {
    const shown = [...select.options].map((one) => `${one.value}\n${one.text}`).join("\n");
    if (shown !== options.map(([value, text]) => `${value}\n${text}`).join("\n")) {
      select.replaceChildren(...options.map(([value, text]) => el("option", { value, text })));
    }
    if (select.value !== chosen) select.value = chosen;
    select.disabled = options.length === 0;
  };
  return [select, show];
}

/** Makes a function that has something done after a wait, once for all calls until then. */
export const once = (wait, work) => {
  let isPlanned = false;
  return () => {
    if (isPlanned) return;
    isPlanned = true;
    wait(() => {
      isPlanned = false;
      work();
    });
  };
};

// One shape a colour, so that nobody needs the colour: round, triangle, diamond, octagon; a tick where all is well.
const SHAPES = {
  blue: "M8 1a7 7 0 1 1 0 14A7 7 0 0 1 8 1z",
  yellow: "M8 1l7.6 13.6H.4z",
  orange: "M8 0l8 8-8 8-8-8z",
  red: "M5 .8h6l4.2 4.2v6L11 15.2H5L.8 11V5z",
  ok: "M8 3a5 5 0 1 1 0 10A5 5 0 0 1 8 3z",
  silent: "M8 3a5 5 0 1 1 0 10A5 5 0 0 1 8 3z",
};
const SIGNS = { ok: "M5.8 8.2l1.6 1.6 3-3.4", silent: "M6 8h4", yellow: "M8 6v4m0 2v.6" };

/** Draws the mark of a severity, of `ok` or of `silent`, in a box of 16. */
export const markParts = (level) => [
  svg("path", { class: "shape", d: SHAPES[level] }),
  svg("path", { class: "sign", d: SIGNS[level] || "M8 4.2v4.6m0 2.2v.6" }),
];

/** Makes the mark as an element; the words stand beside it. */
export const mark = (level) =>
  svg("svg", { class: `mark is-${level}`, viewBox: "0 0 16 16", "aria-hidden": "true" }, markParts(level));
