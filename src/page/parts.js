//! Small parts of the page. Words reach it by textContent only, so that no name is ever taken for markup.
"use strict";

const DATA = JSON.parse(document.getElementById("data").textContent);

/** An element with attributes and children; strings become text. */
function el(tag, attributes, ...children) {
  const own = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (name.startsWith("on")) own.addEventListener(name.slice(2), value);
    else if (value !== null && value !== undefined && value !== false) own.setAttribute(name, value === true ? "" : value);
  }
  own.append(...children.filter((child) => child !== null && child !== undefined));
  return own;
}

/** The same in SVG. */
function svg(tag, attributes, ...children) {
  const own = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (name.startsWith("on")) own.addEventListener(name.slice(2), value);
    else own.setAttribute(name, value);
  }
  own.append(...children);
  return own;
}

/** A section by its name, shown. */
function section(name) {
  const own = document.getElementById(name);
  own.hidden = false;
  return own;
}

const isNumber = (value) => typeof value === "number" && Number.isFinite(value);

/** Three or four digits; a dash where there is no number. */
function figure(value) {
  if (!isNumber(value)) return "–";
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size >= 1e6 || size < 1e-4) return value.toExponential(2).replace("-", "−").replace("e−", "e-");
  const digits = Math.max(0, Math.min(6, 3 - Math.floor(Math.log10(size))));
  return value.toFixed(Math.min(digits, size >= 1000 ? 0 : 4)).replace("-", "−");
}

const fixed = (value, digits) => (isNumber(value) ? value.toFixed(digits).replace("-", "−") : "–");
const percent = (value, digits = 0) => (isNumber(value) ? `${(100 * value).toFixed(digits)} %` : "–");
const counted = (count, noun) => `${count.toLocaleString("en")} ${noun}${count === 1 ? "" : "s"}`;
const sentence = (text) => text.slice(0, 1).toUpperCase() + text.slice(1);
const shortName = (name, most) => (name.length > most ? `${name.slice(0, most - 1)}…` : name);

/** A straight map between two ranges. */
function scale([from, to], [low, high]) {
  const span = to - from || 1;
  return (value) => low + ((value - from) / span) * (high - low);
}

/** Round numbers within a range, about so many. */
function ticks(low, high, count) {
  const span = high - low;
  if (!(span > 0)) return [low];
  const rough = span / count;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((own) => own * power).find((own) => own >= rough);
  const all = [];
  for (let k = Math.ceil(low / step - 1e-9); k * step <= high + 1e-9 * span; k += 1) all.push(k * step);
  return all;
}

/** What a tick is called where neighbours are so far apart. */
function tickName(value, step) {
  const digits = Math.max(0, Math.min(6, -Math.floor(Math.log10(step) + 1e-9)));
  const text = Math.abs(value) >= 1e6 ? value.toExponential(1) : value.toFixed(digits);
  return (Number(text) === 0 ? (0).toFixed(digits) : text).replace("-", "−");
}

/** A table; cells may be strings or elements. */
function table(caption, heads, rows, options = {}) {
  const cell = (value, k) => el("td", { class: (options.words || []).includes(k) ? "words" : null }, value);
  return el(
    "div",
    { class: "scroll", tabindex: "0", role: "region", "aria-label": caption },
    el(
      "table",
      {},
      el("caption", {}, caption),
      el("thead", {}, el("tr", {}, ...heads.map((head, k) => el("th", { scope: "col", class: (options.words || []).includes(k) ? "words" : null }, head)))),
      el("tbody", {}, ...rows.map((row, k) => el("tr", { class: options.best === k ? "best" : null }, ...row.map(cell)))),
    ),
  );
}

/** A table that is made when it is asked for. */
function behind(title, make) {
  const own = el("details", {}, el("summary", {}, title));
  own.addEventListener("toggle", () => {
    if (own.open && own.childElementCount === 1) own.append(make());
  });
  return own;
}

/** A colour of the style sheet. */
const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

/** Red, green and blue of #rrggbb. */
const parts = (hex) => [1, 3, 5].map((k) => parseInt(hex.slice(k, k + 2), 16));

/** From negative over zero to positive, for values from -1 to 1. */
function diverging() {
  const [negative, zero, positive] = ["negative", "zero", "positive"].map((name) => parts(colour(name)));
  return (value) => {
    const end = value < 0 ? negative : positive;
    const share = Math.min(1, Math.abs(value)) ** 0.8;
    return zero.map((own, k) => Math.round(own + (end[k] - own) * share));
  };
}

const hint = document.getElementById("hint");

/** Words beside the pointer. */
function say(event, words) {
  hint.hidden = !words;
  if (!words) return;
  hint.textContent = words;
  const left = Math.min(event.clientX + 14, window.innerWidth - hint.offsetWidth - 8);
  hint.style.left = `${Math.max(8, left)}px`;
  hint.style.top = `${Math.min(event.clientY + 16, window.innerHeight - hint.offsetHeight - 8)}px`;
}

/** What is drawn again when the colours or the width change. */
const redraws = [];
const redraw = () => redraws.forEach((draw) => draw());
["(prefers-color-scheme: dark)", "print"].forEach((media) => window.matchMedia(media).addEventListener("change", redraw));

/** Who wants to know that a task was chosen. */
const followers = [];
let chosen = null;

function choose(task) {
  chosen = task;
  followers.forEach((follow) => follow(task));
}
