// The page's script. It holds no data: it reads the SVG it finds, and writes with textContent only.
"use strict";
(() => {
const get = id => document.getElementById(id);
const canvas = get("canvas"), sheets = [...document.querySelectorAll(".sheet")];
const views = sheets.map(sheet => {
  const svg = sheet.querySelector("svg"), b = svg.viewBox.baseVal;
  return {sheet, svg, w: b.width, h: b.height, x: 0, y: 0, s: 0};   // s: pixels per point
});
let now = Math.max(0, sheets.findIndex(sheet => !sheet.hidden));
canvas.classList.add("live");
const view = () => views[now];
function draw() {
  const v = view(), r = canvas.getBoundingClientRect();
  v.svg.setAttribute("viewBox", [v.x, v.y, r.width / v.s, r.height / v.s].join(" "));
}
function fit(least) {
  const v = view(), r = canvas.getBoundingClientRect();
  if (!r.width || !r.height) return;
  v.s = Math.max(Math.min(r.width / v.w, r.height / v.h, 1.5), least);
  v.x = (v.w - r.width / v.s) / 2;
  v.y = Math.min(0, (v.h - r.height / v.s) / 2);
  if (v.h * v.s > r.height) v.y = 0;
  draw();
}
function zoom(factor, px, py) {
  const v = view(), r = canvas.getBoundingClientRect();
  const ox = px === undefined ? r.width / 2 : px - r.left, oy = py === undefined ? r.height / 2 : py - r.top;
  const s = Math.min(8, Math.max(0.02, v.s * factor));
  v.x += ox / v.s - ox / s; v.y += oy / v.s - oy / s; v.s = s; draw();
}
function centre(item) {
  const v = view(), r = canvas.getBoundingClientRect(), b = item.getBBox();
  v.s = Math.max(v.s, 0.8);
  v.x = b.x + b.width / 2 - r.width / v.s / 2; v.y = b.y + Math.min(b.height, 200) / 2 - r.height / v.s / 2;
  draw();
}
function show(index, id) {
  if (index < 0 || index >= views.length) return;
  view().sheet.hidden = true; now = index; view().sheet.hidden = false;
  if (get("view")) get("view").value = String(index);
  if (!view().s) fit(0.8); else draw();
  search(false);
  if (id) { const item = find(view(), id); if (item) centre(item); }
}
const find = (v, id, kind) =>
  [...v.svg.querySelectorAll(kind || ".box,.cluster")].find(item => item.dataset.id === id);

// Moving and zooming: one finger or the mouse drags, two fingers or the wheel zoom.
const held = new Map(); let moved = 0;
canvas.addEventListener("pointerdown", e => {
  if (e.target.closest("#detail") || e.button > 1) return;
  held.set(e.pointerId, e); moved = 0;
});
addEventListener("pointermove", e => {
  const before = held.get(e.pointerId);
  if (!before) return;
  const v = view(), dx = e.clientX - before.clientX, dy = e.clientY - before.clientY;
  moved += Math.abs(dx) + Math.abs(dy);
  if (moved > 4 && held.size === 1) {
    canvas.classList.add("drag");
    v.x -= dx / v.s; v.y -= dy / v.s; draw();
  }
  if (held.size === 2) {
    const other = [...held.values()].find(p => p.pointerId !== e.pointerId);
    const span = p => Math.hypot(p.clientX - other.clientX, p.clientY - other.clientY) || 1;
    zoom(span(e) / span(before), (e.clientX + other.clientX) / 2, (e.clientY + other.clientY) / 2);
  }
  held.set(e.pointerId, e);
});
for (const end of ["pointerup", "pointercancel"])
  addEventListener(end, e => { held.delete(e.pointerId); canvas.classList.remove("drag"); });
canvas.addEventListener("wheel", e => {
  if (e.target.closest("#detail")) return;
  e.preventDefault(); zoom(Math.exp(-e.deltaY * (e.deltaMode ? 0.05 : 0.0015)), e.clientX, e.clientY);
}, {passive: false});

// Details of a box, and its edges brought out.
function choose(box) {
  for (const item of canvas.querySelectorAll(".chosen,.near")) item.classList.remove("chosen", "near");
  canvas.classList.toggle("near", !!box);
  get("detail").hidden = !box;
  if (!box) return;
  box.classList.add("chosen");
  for (const edge of view().svg.querySelectorAll(".edge"))
    edge.classList.toggle("near", [edge.dataset.from, edge.dataset.to].includes(box.dataset.id));
  get("text").textContent = box.querySelector("title").textContent;
}
canvas.addEventListener("click", e => {
  if (e.target.closest("#detail") || moved > 4) return;
  choose(e.target.closest(".box"));
});
canvas.addEventListener("dblclick", e => {
  const item = e.target.closest(".box,.cluster");
  if (!item) return;
  const id = item.dataset.id, open = item.classList.contains("box");
  const order = open ? views.map((_, i) => i) : views.map((_, i) => views.length - 1 - i);
  const next = order.find(i => (open ? i > now : i < now) && find(views[i], id, open ? ".cluster" : ".box"));
  if (next !== undefined) { choose(null); show(next, id); }
});
get("close").onclick = () => choose(null);

// Search: marks all boxes whose title, lines or details hold the words; Enter goes from one to the next.
let hits = [], at = -1;
function search(go) {
  const words = get("search").value.toLowerCase().split(/\s+/).filter(Boolean);
  for (const box of canvas.querySelectorAll(".found")) box.classList.remove("found");
  const within = v => words.length ? [...v.svg.querySelectorAll(".box")].filter(box => {
    const text = box.textContent.toLowerCase();
    return words.every(word => text.includes(word));
  }) : [];
  hits = within(view());
  if (go && !hits.length) {  // it may stand inside a module that is closed in this view
    const other = views.findIndex(v => within(v).length);
    if (other >= 0) { show(other); hits = within(view()); }
  }
  for (const box of hits) box.classList.add("found");
  canvas.classList.toggle("search", words.length > 0);
  get("found").textContent = words.length ? hits.length + " found" : "";
  at = -1;
  if (go && hits.length) { at = 0; centre(hits[0]); }
}
get("search").addEventListener("input", () => search(true));
get("search").addEventListener("keydown", e => {
  if (e.key === "Escape") { get("search").value = ""; search(false); canvas.focus(); }
  if (e.key === "Enter" && hits.length) {
    at = (at + (e.shiftKey ? hits.length - 1 : 1)) % hits.length; centre(hits[at]);
    get("found").textContent = at + 1 + " of " + hits.length;
  }
});

addEventListener("keydown", e => {
  if (e.target.matches("input,select") || e.ctrlKey || e.metaKey || e.altKey) return;
  const step = 60 / view().s, v = view();
  const keys = {
    "+": () => zoom(1.25), "=": () => zoom(1.25), "-": () => zoom(0.8), "0": () => fit(0), "f": () => fit(0),
    "/": () => get("search").focus(), "Escape": () => choose(null),
    "ArrowLeft": () => { v.x -= step; draw(); }, "ArrowRight": () => { v.x += step; draw(); },
    "ArrowUp": () => { v.y -= step; draw(); }, "ArrowDown": () => { v.y += step; draw(); },
  };
  if (keys[e.key]) { e.preventDefault(); keys[e.key](); }
});
get("in").onclick = () => zoom(1.25);
get("out").onclick = () => zoom(0.8);
get("fit").onclick = () => fit(0);
get("theme").onclick = () => {
  const list = document.body.classList;
  const wanted = matchMedia("(prefers-color-scheme:dark)").matches;
  const dark = list.contains("dark") || (wanted && !list.contains("light"));
  for (const item of [document.body, ...document.querySelectorAll("svg.zkynet-cg,.chip")]) {
    item.classList.toggle("dark", !dark); item.classList.toggle("light", dark);
  }
};
if (get("view")) get("view").onchange = e => { choose(null); show(Number(e.target.value)); };
addEventListener("resize", draw);
fit(0.8);
})();
