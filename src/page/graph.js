//! The task graph: forces place tasks, the pointer or the keys look into it.
"use strict";

/** Tasks that are drawn at most, and tasks up to which those without an edge are drawn too. */
const MOST_DRAWN = 2000;
const ALL_DRAWN = 400;

/** Colours of clusters: muted, of one lightness. */
const clusterHue = (k) => (k === 0 ? colour("soft") : `hsl(${(210 + (k - 1) * 77) % 360} 42% 52%)`);

/** How many of the edges, the most probable first, have an expected share of false ones of at most `rate`: the rule of `cognate graph --fdr`. */
function keptAt(edges, rate) {
  let [sum, kept] = [0, 0];
  for (let k = 0; k < edges.length; k += 1) {
    sum += 1 - edges[k][3];
    if (sum > rate * (k + 1)) break;
    kept = k + 1;
  }
  return kept;
}

/** A field that chooses a task by its name, or by a part of it, and the names that it offers. */
function finder() {
  const { names } = DATA.tasks;
  const field = el("input", { type: "search", id: "search", list: "names", autocomplete: "off", placeholder: "name of a task" });
  field.addEventListener("change", () => {
    const exact = names.indexOf(field.value);
    const found = exact >= 0 ? exact : names.findIndex((name) => name.toLowerCase().includes(field.value.toLowerCase()));
    if (field.value && found >= 0) choose(found);
  });
  const offered = el("datalist", { id: "names" }, ...names.slice(0, 2000).map((name) => el("option", { value: name })));
  return [el("label", { for: "search" }, "Find a task", field), offered];
}

function taskGraph(home) {
  const { edges, certainty, of, words } = DATA.graph;
  const { names, rows, clusters } = DATA.tasks;
  home.append(el("p", {}, words));
  const panel = el("aside", { "aria-live": "polite" });
  const search = finder();
  if (!edges.length && !clusters) {
    home.append(el("div", { class: "controls" }, ...search), el("div", { class: "alone" }, panel));
    describe(panel);
    return;
  }

  const linked = new Set(edges.flatMap((edge) => [edge[0], edge[1]]));
  let drawn = names.length <= ALL_DRAWN || clusters ? names.map((_, t) => t) : [...linked];
  if (drawn.length > MOST_DRAWN) drawn = edges.length ? [...linked].slice(0, MOST_DRAWN) : drawn.slice(0, MOST_DRAWN);
  const place = new Map(drawn.map((t, k) => [t, k]));
  const most = Math.max(1, ...drawn.map((t) => rows[t]));
  const nodes = drawn.map((t) => ({ task: t, r: 3 + 5 * Math.sqrt(rows[t] / most), degree: 0 }));
  if (drawn.length > 600) nodes.forEach((node) => { node.r *= 0.6; });
  const all = edges.filter((edge) => place.has(edge[0]) && place.has(edge[1]));
  let shown = [];
  // Of very many tasks only those with an edge that is shown.
  const every = drawn.length <= ALL_DRAWN || Boolean(clusters);
  let active = nodes;

  // What is shown is chosen by the rate of false edges, or by number where there are no probabilities.
  const rates = [0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5];
  const numbers = [...new Set([0.02, 0.05, 0.1, 0.2, 0.35, 0.5, 0.75, 1].map((share) => Math.ceil(share * all.length)))];
  const steps = certainty ? rates : numbers;
  const sureSign = certainty && certainty.includes("sign");
  const count = el("output", { "aria-live": "polite" });
  const begin = certainty ? (sureSign ? rates.indexOf(0.05) : rates.indexOf(0.1)) : Math.max(0, steps.filter((own) => own <= 600).length - 1);
  const slider = el("input", { type: "range", id: "rate", min: 0, max: Math.max(0, steps.length - 1), step: 1, value: begin });
  const canvas = el("canvas", { tabindex: "0", role: "img", "aria-label": "Task graph. Plus and minus zoom, arrow keys go from task to task, Enter chooses one; the tables behind hold the same." });
  const stage = el("div", { class: "stage" }, canvas);
  const again = el("button", { type: "button", onclick: () => fit() }, "Whole graph");
  home.append(
    el(
      "div",
      { class: "controls" },
      all.length ? el("label", { for: "rate" }, certainty ? (sureSign ? "False sign rate, at most" : "False discovery rate, at most") : "Strongest edges", slider) : null,
      all.length ? count : null,
      ...search,
      again,
    ),
    el("figure", {}, el("div", { class: "beside" }, stage, panel), caption()),
  );

  function caption() {
    if (!all.length) return el("figcaption", {}, `${clusters ? "Colour: cluster; grey: of none. " : ""}Size: rows of the task.`);
    const left = every ? names.length - nodes.length : 0;
    const parts = [
      `Width: size of the ${of}. Colour: `,
      el("b", { style: "color:var(--positive)" }, "alike"),
      " or ",
      el("b", { style: "color:var(--negative)" }, "opposite"),
      certainty ? `. The fainter an edge, the less probable ${certainty}.` : ".",
      " Size of a task: its rows.",
    ];
    if (!every) parts.push(" Tasks without an edge that is shown are not drawn.");
    if (left > 0) parts.push(` ${counted(left, "task")} without an edge on this page ${left === 1 ? "is" : "are"} not drawn.`);
    if (DATA.graph.left_out > 0) parts.push(` ${counted(DATA.graph.left_out, "weaker or less probable pair")} left out.`);
    if (certainty) parts.push(" Edges are the largest set of the most probable ones whose expected share of false ones is at most the rate.");
    return el("figcaption", {}, ...parts);
  }

  const width = () => stage.clientWidth || 640;
  const height = () => Math.min(520, Math.round(0.95 * width()));
  let view = d3.zoomIdentity;
  let under = null;

  const simulation = d3.forceSimulation(nodes).stop();
  const strength = -Math.max(12, 90 - nodes.length / 6);
  simulation.force("charge", d3.forceManyBody().strength(strength).distanceMax(400)).force("collide", d3.forceCollide((node) => node.r + 1.5));
  if (clusters) {
    const groups = clusters.count + 1;
    const reach = 60 + 3.2 * Math.sqrt(nodes.length) * Math.max(2, groups / 2);
    const centre = (node, turn) => {
      const own = clusters.of[node.task];
      return own === 0 ? (turn === Math.sin ? reach * 1.35 : 0) : reach * turn((2 * Math.PI * (own - 1)) / clusters.count);
    };
    simulation.force("x", d3.forceX((node) => centre(node, Math.cos)).strength(0.25)).force("y", d3.forceY((node) => centre(node, Math.sin)).strength(0.25));
    simulation.force("charge").strength(-8);
  } else {
    simulation.force("x", d3.forceX().strength(0.07)).force("y", d3.forceY().strength(0.09));
  }

  function show() {
    const step = steps[Number(slider.value)] || 0;
    shown = all.slice(0, certainty ? keptAt(all, step) : step);
    nodes.forEach((node) => { node.degree = 0; });
    const links = shown.map((edge) => {
      const [source, target] = [nodes[place.get(edge[0])], nodes[place.get(edge[1])]];
      source.degree += 1;
      target.degree += 1;
      return { source, target, edge };
    });
    active = every ? nodes : nodes.filter((node) => node.degree > 0);
    simulation.nodes(active);
    simulation.force("link", d3.forceLink(links).distance(46).strength((link) => (0.1 + 0.6 * Math.abs(link.edge[2])) / Math.min(4, Math.max(1, Math.min(link.source.degree, link.target.degree)))));
    if (certainty) {
      const doubt = shown.reduce((sum, edge) => sum + 1 - edge[3], 0);
      count.textContent = `${percent(step)}: ${counted(shown.length, "edge")}${shown.length ? `, ${fixed(doubt, 1)} of them expected to be false` : ""}`;
      slider.setAttribute("aria-valuetext", count.textContent);
    } else {
      count.textContent = `${counted(shown.length, "edge")}${shown.length ? `, of size ${fixed(Math.abs(shown[shown.length - 1][2]), 2)} and more` : ""}`;
    }
    settle();
  }

  let turn = 0;
  /** Lets the forces work, some milliseconds of every frame, until all is at rest. */
  function settle() {
    turn += 1;
    const own = turn;
    const rest = active.length > 800 ? 0.05 : 0.01;
    simulation.alpha(1);
    const frame = () => {
      if (own !== turn) return;
      const begun = performance.now();
      while (simulation.alpha() > rest && performance.now() - begun < 14) simulation.tick();
      fit();
      if (simulation.alpha() > rest) requestAnimationFrame(frame);
      else stage.dataset.settled = "yes";
    };
    delete stage.dataset.settled;
    frame();
  }

  const zoom = d3.zoom().scaleExtent([0.1, 12]).on("zoom", (event) => {
    view = event.transform;
    draw();
  });
  d3.select(canvas).call(zoom).on("dblclick.zoom", null);

  /** Moves the view so that all tasks are seen. */
  function fit() {
    if (!active.length) return draw();
    const ends = (of) => active.reduce(([low, high], node) => [Math.min(low, of(node)), Math.max(high, of(node))], [Infinity, -Infinity]);
    const [[left, right], [top, bottom]] = [ends((node) => node.x - 14), ends((node) => node.x === undefined ? 0 : node.y - 14)];
    const size = Math.min(2.5, 0.92 * Math.min(width() / Math.max(60, right - left + 28), height() / Math.max(60, bottom - top + 28)));
    d3.select(canvas).call(zoom.transform, d3.zoomIdentity.translate(width() / 2 - size * ((left + right) / 2 + 7), height() / 2 - size * ((top + bottom) / 2 + 7)).scale(size));
  }

  function draw() {
    const ratio = window.devicePixelRatio || 1;
    if (canvas.width !== Math.round(width() * ratio)) {
      canvas.width = Math.round(width() * ratio);
      canvas.height = Math.round(height() * ratio);
      canvas.style.height = `${height()}px`;
    }
    const context = canvas.getContext("2d");
    const [positive, negative, node, ink, focus, sheet] = ["positive", "negative", "node", "ink", "focus", "sheet"].map(colour);
    const near = new Set();
    if (chosen !== null) shown.forEach((edge) => (edge[0] === chosen || edge[1] === chosen) && near.add(edge[0]).add(edge[1]));
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, width(), height());
    context.translate(view.x, view.y);
    context.scale(view.k, view.k);
    const thickest = (certainty ? 5 : 3) * Math.min(1, Math.sqrt(150 / Math.max(1, shown.length)));
    // The weakest first, so that the strongest lie above.
    for (let k = shown.length - 1; k >= 0; k -= 1) {
      const edge = shown[k];
      const [a, b] = [nodes[place.get(edge[0])], nodes[place.get(edge[1])]];
      const apart = near.size && edge[0] !== chosen && edge[1] !== chosen;
      context.globalAlpha = Math.max(0.08, isNumber(edge[3]) ? edge[3] ** 1.5 : 0.6) * (apart ? 0.2 : 1);
      context.strokeStyle = edge[2] < 0 ? negative : positive;
      context.lineWidth = (0.6 + thickest * Math.abs(edge[2])) / Math.sqrt(view.k);
      context.beginPath();
      context.moveTo(a.x, a.y);
      context.lineTo(b.x, b.y);
      context.stroke();
    }
    active.forEach((own) => {
      const sure = clusters ? clusters.probabilities[own.task] : 1;
      context.globalAlpha = (near.size && !near.has(own.task) ? 0.35 : 1) * Math.max(0.25, sure);
      context.fillStyle = clusters ? clusterHue(clusters.of[own.task]) : node;
      context.beginPath();
      context.arc(own.x, own.y, own.r, 0, 2 * Math.PI);
      context.fill();
      context.globalAlpha = 1;
      context.lineWidth = (own.task === chosen ? 3 : 1) / view.k;
      context.strokeStyle = own.task === chosen || own === under ? focus : sheet;
      context.stroke();
    });
    // Names, those of most edges first, where there is room.
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.font = `12px ${colour("sans")}`;
    context.textBaseline = "middle";
    const boxes = active.map((own) => ({ x: view.applyX(own.x) - own.r * view.k, y: view.applyY(own.y) - own.r * view.k, w: 2 * own.r * view.k, h: 2 * own.r * view.k }));
    const order = active.filter((own) => own.task === chosen || own.degree > 0 || active.length <= 60 || view.k > 1.6).sort((a, b) => (b.task === chosen) - (a.task === chosen) || b.degree - a.degree || rows[b.task] - rows[a.task]).slice(0, 400);
    order.forEach((own) => {
      const text = shortName(names[own.task], 18);
      const [x, reach, w] = [view.applyX(own.x), own.r * view.k + 4, context.measureText(text).width];
      // On its right, else on its left.
      const sides = [x + reach, x - reach - w].map((left) => ({ x: left, y: view.applyY(own.y) - 7, w, h: 14 })).filter((side) => side.x >= 0 && side.x + w <= width());
      const isClear = (side) => boxes.every((other) => side.x > other.x + other.w || other.x > side.x + side.w || side.y > other.y + other.h || other.y > side.y + side.h);
      const box = sides.find(isClear) || (own.task === chosen ? sides[0] : null);
      if (!box) return;
      boxes.push(box);
      context.lineWidth = 3;
      context.strokeStyle = sheet;
      context.strokeText(text, box.x, box.y + 7);
      context.fillStyle = ink;
      context.fillText(text, box.x, box.y + 7);
    });
  }

  function found(event) {
    const box = canvas.getBoundingClientRect();
    const [x, y] = view.invert([event.clientX - box.left, event.clientY - box.top]);
    return simulation.find(x, y, 14 / view.k) || null;
  }
  canvas.addEventListener("pointermove", (event) => {
    const own = found(event);
    const edge = own ? null : edgeUnder(event);
    say(event, own ? `${names[own.task]}: ${counted(rows[own.task], "row")}, ${counted(own.degree, "edge")}` : edge ? edgeWords(edge) : "");
    if (own !== under) {
      under = own;
      canvas.style.cursor = own ? "pointer" : "grab";
      draw();
    }
  });
  canvas.addEventListener("pointerleave", (event) => say(event, ""));
  canvas.addEventListener("click", (event) => {
    const own = found(event);
    choose(own ? own.task : null);
  });
  function edgeUnder(event) {
    if (shown.length > 3000) return null;
    const box = canvas.getBoundingClientRect();
    const [x, y] = view.invert([event.clientX - box.left, event.clientY - box.top]);
    const away = (edge) => {
      const [a, b] = [nodes[place.get(edge[0])], nodes[place.get(edge[1])]];
      const [dx, dy] = [b.x - a.x, b.y - a.y];
      const share = Math.max(0, Math.min(1, ((x - a.x) * dx + (y - a.y) * dy) / (dx * dx + dy * dy || 1)));
      return Math.hypot(x - a.x - share * dx, y - a.y - share * dy);
    };
    return shown.find((edge) => away(edge) < 4 / view.k) || null;
  }
  function edgeWords(edge) {
    const interval = isNumber(edge[4]) ? ` (${fixed(edge[4], 2)} to ${fixed(edge[5], 2)})` : "";
    return `${names[edge[0]]} – ${names[edge[1]]}: ${of} ${fixed(edge[2], 2)}${interval}${isNumber(edge[3]) ? `, probability ${certainty} ${fixed(edge[3], 3)}` : ""}`;
  }
  canvas.addEventListener("keydown", (event) => {
    const by = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (event.key === "+" || event.key === "-") d3.select(canvas).call(zoom.scaleBy, event.key === "+" ? 1.3 : 1 / 1.3);
    if (event.key === "Escape") choose(null);
    if (!by) return;
    event.preventDefault();
    const order = active.slice().sort((a, b) => b.degree - a.degree || a.task - b.task);
    const here = order.findIndex((own) => own.task === chosen);
    choose(order[(here + by + order.length) % order.length].task);
  });
  slider.addEventListener("input", show);
  if (all.length) {
    home.append(
      behind("Edges as a table", () =>
        table(`${counted(Math.min(shown.length, 1000), "edge")} shown, of ${all.length} on this page`, ["task", "task", of, "95 % interval", `probability ${certainty || ""}`], shown.slice(0, 1000).map((edge) => [
          names[edge[0]], names[edge[1]], fixed(edge[2], 3), isNumber(edge[4]) ? `${fixed(edge[4], 2)} to ${fixed(edge[5], 2)}` : "–", fixed(edge[3], 3),
        ]), { words: [0, 1] })),
    );
  }
  describe(panel);
  followers.push(draw);
  redraws.push(draw);
  window.addEventListener("resize", fit);
  show();
}
