//! Figures of the page: intervals side by side, lines, bars and the heat map.
"use strict";

/** An axis below a figure, with lines through it. */
function axis(place, [low, high], [top, bottom], title) {
  const marks = ticks(low, high, 6);
  const step = marks.length > 1 ? marks[1] - marks[0] : 1;
  const own = svg("g", { "aria-hidden": "true" });
  marks.forEach((mark) => {
    own.append(svg("line", { class: "line", x1: place(mark), x2: place(mark), y1: top, y2: bottom }));
    const name = svg("text", { class: "soft", x: place(mark), y: bottom + 17, "text-anchor": "middle" });
    name.textContent = tickName(mark, step);
    own.append(name);
  });
  if (title) {
    const name = svg("text", { class: "soft", x: place(high), y: bottom + 36, "text-anchor": "end" });
    name.textContent = title;
    own.append(name);
  }
  return own;
}

/** Estimates with intervals, a line each: `rows` of {name, value, low, high, task}. */
function intervals(rows, { title, reference = null, label, range = null }) {
  const width = 980;
  const step = rows.length > 60 ? 14 : 21;
  const longest = Math.max(4, ...rows.map((row) => Math.min(row.name.length, 26)));
  const left = 20 + longest * 7;
  const [top, bottom] = [10, 16 + rows.length * step];
  const numbers = rows.flatMap((row) => [row.value, row.low, row.high]).concat([reference]).filter(isNumber);
  let [low, high] = range || [Math.min(...numbers), Math.max(...numbers)];
  const margin = 0.04 * (high - low) || Math.abs(high) * 0.1 || 1;
  [low, high] = range || [low - margin, high + margin];
  const place = scale([low, high], [left, width - 16]);
  const own = svg("svg", { viewBox: `0 0 ${width} ${bottom + 44}`, width, role: "group", "aria-label": label });
  own.append(axis(place, [low, high], [top, bottom], title));
  if (isNumber(reference)) own.append(svg("line", { class: "ref", x1: place(reference), x2: place(reference), y1: top, y2: bottom }));
  rows.forEach((row, k) => {
    const y = top + 6 + (k + 0.5) * step;
    const words = `${row.name}: ${figure(row.value)}${isNumber(row.low) ? ` (${figure(row.low)} to ${figure(row.high)})` : ""}`;
    const known = Number.isInteger(row.task);
    const line = svg("g", { class: known ? "row" : "", ...(known ? { tabindex: "0", role: "button" } : { role: "img" }), "aria-label": words });
    if (known) line.dataset.task = row.task;
    const name = svg("text", { x: left - 10, y: y + 4, "text-anchor": "end" });
    name.textContent = shortName(row.name, 26);
    line.append(svg("rect", { class: "hit", x: 0, y: y - step / 2, width, height: step }), name);
    const kind = row.kind || "mark";
    if (isNumber(row.low) && isNumber(row.high)) {
      line.append(svg("line", { class: kind, x1: place(row.low), x2: place(row.high), y1: y, y2: y, "stroke-width": 1.6 }));
    }
    if (isNumber(row.value)) line.append(svg("circle", { class: kind, cx: place(row.value), cy: y, r: 3.4 }));
    if (known) {
      line.addEventListener("click", () => choose(row.task));
      line.addEventListener("keydown", (event) => {
        if (event.key === "Enter" || event.key === " ") {
          event.preventDefault();
          choose(row.task);
        }
      });
    }
    line.addEventListener("pointermove", (event) => say(event, words));
    line.addEventListener("pointerleave", (event) => say(event, ""));
    own.append(line);
  });
  return own;
}

/** Lines over a number: `lines` of {name, points: [[x, y, error]], loose}; a loose line may leave the figure. */
function curves(lines, { title, side, label, height = 250 }) {
  const [width, left, right] = [980, 84, lines.length > 1 ? 170 : 20];
  const points = lines.flatMap((line) => line.points);
  const ends = (values) => [Math.min(...values), Math.max(...values)];
  const [first, last] = ends(points.map((point) => point[0]));
  const reach = (point) => (isNumber(point[2]) ? 1.96 * point[2] : 0);
  const firm = lines.filter((line) => !line.loose).flatMap((line) => line.points);
  let [low, high] = ends((firm.length ? firm : points).flatMap((point) => [point[1] - reach(point), point[1] + reach(point)]));
  const margin = (firm.length < points.length ? 0.25 : 0.06) * (high - low) || 1;
  [low, high] = [low - margin, high + margin];
  const across = scale([first, last], [left, width - right]);
  const up = scale([low, high], [height, 12]);
  const own = svg("svg", { viewBox: `0 0 ${width} ${height + 44}`, width, role: "img", "aria-label": label });
  own.append(axis(across, [first, last], [12, height], title));
  const marks = ticks(low, high, 5);
  marks.forEach((mark) => {
    own.append(svg("line", { class: "line", x1: left, x2: width - right, y1: up(mark), y2: up(mark) }));
    const name = svg("text", { class: "soft", x: left - 10, y: up(mark) + 4, "text-anchor": "end" });
    name.textContent = tickName(mark, marks.length > 1 ? marks[1] - marks[0] : 1);
    own.append(name);
  });
  const inside = `inside-${label.replaceAll(" ", "-")}`;
  const frame = svg("g", { "clip-path": `url(#${inside})` });
  own.append(svg("clipPath", { id: inside }, svg("rect", { x: left - 6, y: 6, width: width - right - left + 12, height: height - 2 })), frame);
  const names = [];
  lines.forEach((line, k) => {
    const hue = lines.length > 1 ? `hsl(${(205 + k * 47) % 360} 45% 50%)` : null;
    const style = hue ? `stroke:${hue};fill:${hue}` : "";
    line.points.filter((point) => reach(point) > 0).forEach((point) => {
      frame.append(svg("line", { class: "mark", style, x1: across(point[0]), x2: across(point[0]), y1: up(point[1] - reach(point)), y2: up(point[1] + reach(point)), "stroke-width": 1, opacity: 0.6 }));
    });
    const path = line.points.map((point, i) => `${i ? "L" : "M"}${across(point[0]).toFixed(1)},${up(point[1]).toFixed(1)}`).join("");
    frame.append(svg("path", { d: path, class: "mark", style: `${style};fill:none`, "stroke-width": 1.8 }));
    if (line.points.length < 40) line.points.forEach((point) => frame.append(svg("circle", { class: "mark", style, cx: across(point[0]), cy: up(point[1]), r: 2.8 })));
    if (lines.length > 1) names.push({ hue, name: line.name, y: up(line.points[line.points.length - 1][1]) });
  });
  let below = 0;
  names.sort((a, b) => a.y - b.y).forEach((line) => {
    below = Math.max(line.y, below + 16);
    const name = svg("text", { x: width - right + 12, y: below + 4, style: `fill:${line.hue}` });
    name.textContent = shortName(line.name, 22);
    own.append(name);
  });
  const name = svg("text", { class: "soft", x: left, y: 4 });
  name.textContent = side;
  own.append(name);
  return own;
}

/** Shares of rows in tenths, against a tenth each. */
function histogram(shares, label) {
  const [width, height, left] = [560, 190, 52];
  const high = Math.max(0.2, ...shares) * 1.05;
  const up = scale([0, high], [height, 10]);
  const across = scale([0, 1], [left, width - 12]);
  const own = svg("svg", { viewBox: `0 0 ${width} ${height + 42}`, width, role: "img", "aria-label": label });
  ticks(0, high, 4).forEach((mark) => {
    own.append(svg("line", { class: "line", x1: left, x2: width - 12, y1: up(mark), y2: up(mark) }));
    const name = svg("text", { class: "soft", x: left - 8, y: up(mark) + 4, "text-anchor": "end" });
    name.textContent = percent(mark);
    own.append(name);
  });
  shares.forEach((share, k) => {
    const [x, w] = [across(k / shares.length) + 2, across(1 / shares.length) - across(0) - 4];
    const bar = svg("rect", { class: "mark", x, y: up(share), width: w, height: Math.max(0, height - up(share)), opacity: 0.8 });
    bar.addEventListener("pointermove", (event) => say(event, `${(k / 10).toFixed(1)} to ${((k + 1) / 10).toFixed(1)}: ${percent(share, 1)}`));
    bar.addEventListener("pointerleave", (event) => say(event, ""));
    own.append(bar);
  });
  own.append(svg("line", { class: "ref", x1: left, x2: width - 12, y1: up(0.1), y2: up(0.1) }));
  [0, 0.5, 1].forEach((mark) => {
    const name = svg("text", { class: "soft", x: across(mark), y: height + 18, "text-anchor": "middle" });
    name.textContent = mark;
    own.append(name);
  });
  return own;
}

/** The heat map of `DATA.heat`, with a cursor for the pointer and the arrow keys. */
function heatMap(heat) {
  const { order, starts, cells, of } = heat;
  const rows = starts.length;
  const names = DATA.tasks.names;
  const end = (k) => (k + 1 < rows ? starts[k + 1] : order.length);
  const at = (i, j) => cells[(Math.max(i, j) * (Math.max(i, j) + 1)) / 2 + Math.min(i, j)];
  // Of hundredths: no colour is made of nothing.
  const largest = cells.reduce((most, own) => Math.max(most, Math.abs(own || 0)), 10);
  const top = of.startsWith("partial") || largest < 50 ? largest : 100;
  const block = (k) => (end(k) - starts[k] === 1 ? names[order[starts[k]]] : `${counted(end(k) - starts[k], "task")} from ${names[order[starts[k]]]} to ${names[order[end(k) - 1]]}`);
  const words = (i, j) => {
    const value = at(i, j);
    if (i === j && end(i) - starts[i] === 1) return block(i);
    const what = end(i) - starts[i] > 1 || end(j) - starts[j] > 1 ? `mean ${of}` : of;
    return `${block(i)} and ${block(j)}: ${what.replace("mean partial", "partial")} ${fixed(value / 100, 2)}`;
  };
  const pixels = Math.max(1, Math.floor(1120 / rows)) * rows;
  // Names stand beside the rows where there is room for them.
  const named = rows <= 50;
  const side = named ? Math.min(260, 30 + 15 * Math.max(...order.map((t) => shortName(names[t], 16).length))) : 0;
  const canvas = el("canvas", { width: pixels + side, height: pixels, tabindex: "0", role: "img", "aria-label": `Heat map of ${rows} by ${rows} ${rows < order.length ? "blocks of tasks" : "tasks"}; arrow keys move a cursor` });
  const readout = el("p", { class: "readout", "aria-live": "polite" }, "Point at a cell, or move with the arrow keys.");
  let cursor = null;
  const draw = () => {
    const [context, size, paint] = [canvas.getContext("2d"), pixels / rows, diverging()];
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, canvas.width, canvas.height);
    context.font = `${Math.min(26, size * 0.8)}px ${colour("sans")}`;
    context.textBaseline = "middle";
    context.textAlign = "right";
    context.fillStyle = colour("ink");
    for (let i = 0; named && i < rows; i += 1) context.fillText(shortName(names[order[i]], 16), side - 12, (i + 0.5) * size, side - 12);
    context.translate(side, 0);
    const diagonal = parts(colour("rule"));
    for (let i = 0; i < rows; i += 1) {
      for (let j = 0; j < rows; j += 1) {
        const value = at(i, j);
        context.fillStyle = `rgb(${(isNumber(value) ? paint(value / top) : diagonal).join(",")})`;
        context.fillRect(j * size, i * size, size, size);
      }
    }
    if (cursor) {
      context.strokeStyle = colour("focus");
      context.lineWidth = 3;
      context.strokeRect(cursor[1] * size, cursor[0] * size, size, size);
    }
  };
  const move = (i, j) => {
    cursor = [Math.max(0, Math.min(rows - 1, i)), Math.max(0, Math.min(rows - 1, j))];
    readout.textContent = words(...cursor);
    draw();
  };
  canvas.addEventListener("pointermove", (event) => {
    const box = canvas.getBoundingClientRect();
    move(Math.floor(((event.clientY - box.top) / box.height) * rows), Math.floor(((((event.clientX - box.left) / box.width) * canvas.width - side) / pixels) * rows));
  });
  canvas.addEventListener("click", () => cursor && choose(order[starts[cursor[0]]]));
  canvas.addEventListener("keydown", (event) => {
    const step = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
    if (event.key === "Enter" && cursor) choose(order[starts[cursor[0]]]);
    if (!step) return;
    event.preventDefault();
    const [i, j] = cursor || [0, -1];
    move(i + step[0], j + step[1]);
  });
  const bar = el("div", { class: "scale", "aria-hidden": "true" });
  const isSigned = cells.some((own) => own < 0);
  const legend = () => {
    const paint = diverging();
    const stops = (isSigned ? [-1, -0.5, 0, 0.5, 1] : [0, 0.25, 0.5, 0.75, 1]).map((value) => `rgb(${paint(value).join(",")})`);
    bar.style.background = `linear-gradient(to right, ${stops.join(",")})`;
  };
  draw();
  legend();
  redraws.push(draw, legend);
  const ends = isSigned ? [fixed(-top / 100, 2), "0", fixed(top / 100, 2)] : ["0", fixed(top / 100, 2)];
  return el(
    "div",
    { class: "heat" },
    el("div", {}, canvas),
    el(
      "div",
      {},
      el("div", { class: "note" }, of[0].toUpperCase() + of.slice(1)),
      bar,
      el("div", { class: "ends" }, ...ends.map((own) => el("span", {}, own))),
      readout,
      el("p", { class: "note" }, rows < order.length ? `Each of ${rows} rows is a block of about ${Math.round(order.length / rows)} of ${order.length.toLocaleString("en")} tasks; a cell is the mean over the pairs of two blocks${of.startsWith("partial") ? " (a sum, of partial correlations)" : ""}.` : "Tasks that are alike stand together (average linkage, likest ends joined)."),
    ),
  );
}
