//! The page from top to bottom.
"use strict";

/** What is known of the chosen task, kept in a panel. */
function describe(panel) {
  const { names, rows, own, clusters } = DATA.tasks;
  const donors = new Map(DATA.donors.tasks.map((one) => [one[0], one]));
  const gains = new Map((DATA.gains || []).map((one) => [one[0], one]));
  const follow = (task) => {
    panel.replaceChildren();
    if (task === null) {
      panel.append(el("p", { class: "note again" }, "Choose a task, by the pointer or by its name, to see its donors, its parameters and what it gains by sharing."));
      return;
    }
    panel.append(el("h3", {}, names[task]), el("p", {}, `${counted(rows[task], "row")}${isNumber(own[task]) ? `; they decide ${percent(own[task])} of its deviation from the mean` : ""}.`));
    if (clusters) panel.append(el("p", {}, `${clusters.of[task] ? `Cluster ${clusters.of[task]}` : "Of no cluster"}, probability ${fixed(clusters.probabilities[task], 3)}.`));
    const gain = gains.get(names[task]);
    if (gain) panel.append(el("p", {}, `Gain by sharing: ${fixed(gain[1], 3)} nats a row (${fixed(gain[2], 3)} to ${fixed(gain[3], 3)}).`));
    panel.append(el("h4", {}, "Who teaches it"));
    const known = donors.get(task);
    if (known) {
      const [, itself, mean, prior, effective, list] = known;
      const most = Math.max(itself, ...list.map((donor) => Math.abs(donor[1])), 1e-9);
      const bar = (name, weight, action) =>
        el(
          "div",
          { class: "bar" },
          action ? el("button", { type: "button", onclick: action, title: name }, name) : el("span", { style: "text-align:left" }, name),
          el("i", { class: weight < 0 ? "minus" : null, style: `width:${((100 * Math.abs(weight)) / most).toFixed(1)}%` }),
          el("span", {}, fixed(weight, 3)),
        );
      panel.append(
        bar("its own rows", itself, null),
        ...list.map(([donor, weight]) => bar(names[donor], weight, () => choose(donor))),
        el("p", { class: "note" }, `${fixed(effective, 1)} donors in effect; ${percent(mean)} of all weight goes through the common mean${Math.abs(prior) > 0.005 ? `, ${percent(prior)} is what was believed before` : ""}.`),
      );
    } else {
      panel.append(el("p", { class: "note" }, DATA.donors.words || "Not known of this task."));
    }
    const { features, estimates, sds } = DATA.parameters;
    panel.append(
      el("h4", {}, "Parameters"),
      table(`Parameters of ${names[task]}`, ["feature", "estimate", "95 % interval"], features.slice(0, 60).map((name, k) => {
        const [value, sd] = [estimates[k][task], sds[k][task]];
        return [name, figure(value), `${figure(value - 1.96 * sd)} to ${figure(value + 1.96 * sd)}`];
      })),
    );
  };
  followers.push(follow);
  follow(null);
}

/** A page of the parameters of all tasks in one feature. */
function parametersOf(home) {
  const { features, of, estimates, sds, means } = DATA.parameters;
  const { names } = DATA.tasks;
  const long = 40;
  let [feature, begin, order] = [0, 0, []];
  const pick = el("select", { id: "feature" }, ...features.map((name, k) => el("option", { value: k }, name)));
  const sort = el("select", { id: "sort" }, ...[["estimate", "estimate"], ["name", "order of the table"], ["sd", "uncertainty"]].map(([value, name]) => el("option", { value }, name)));
  const back = el("button", { type: "button" }, "Previous");
  const on = el("button", { type: "button" }, "Next");
  const where = el("output", { "aria-live": "polite" });
  const figureHome = el("figure", {});
  const several = names.length > long;
  home.append(
    el("div", { class: "controls" }, el("label", { for: "feature" }, "Feature", pick), el("label", { for: "sort" }, "Sorted by", sort), several ? back : null, several ? on : null, several ? where : null),
    figureHome,
  );
  const arrange = () => {
    const by = { estimate: (t) => estimates[feature][t], sd: (t) => sds[feature][t], name: (t) => t }[sort.value];
    order = names.map((_, t) => t).sort((a, b) => by(a) - by(b));
  };
  const show = () => {
    const shown = order.slice(begin, begin + long);
    // One axis for all pages.
    const reach = (t, side) => estimates[feature][t] + side * 1.96 * sds[feature][t];
    const ends = names.reduce(([low, high], _, t) => [Math.min(low, reach(t, -1)), Math.max(high, reach(t, 1))], [Infinity, -Infinity]);
    const margin = 0.03 * (ends[1] - ends[0]) || 1;
    const row = (t) => ({ name: names[t], value: estimates[feature][t], low: reach(t, -1), high: reach(t, 1), task: t });
    const drawn = intervals(shown.map(row), { title: features[feature], reference: means[feature], label: `Parameters of ${features[feature]}`, range: [ends[0] - margin, ends[1] + margin] });
    where.textContent = `${(begin + 1).toLocaleString("en")} to ${(begin + shown.length).toLocaleString("en")} of ${names.length.toLocaleString("en")}`;
    back.disabled = begin === 0;
    on.disabled = begin + long >= names.length;
    const note = `Estimates of ${features[feature]} with 95 % intervals${isNumber(means[feature]) ? "; the broken line is the common mean" : ""}.${features.length < of ? ` ${features.length} of ${of} features are on this page, those in which tasks differ most; 'cognate tasks' prints all.` : ""}`;
    figureHome.replaceChildren(
      drawn,
      el("figcaption", {}, note),
      behind("These as a table", () => table(features[feature], ["task", "estimate", "sd", "low", "high"], shown.map((t) => [names[t], figure(estimates[feature][t]), figure(sds[feature][t]), figure(reach(t, -1)), figure(reach(t, 1))]))),
    );
    mark(chosen);
  };
  const mark = (task) => figureHome.querySelectorAll(".row").forEach((line) => line.classList.toggle("chosen", Number(line.dataset.task) === task));
  followers.push((task) => {
    const at = task === null ? -1 : order.indexOf(task);
    if (at >= 0 && several && (at < begin || at >= begin + long)) {
      begin = Math.floor(at / long) * long;
      show();
    } else mark(task);
  });
  const restart = () => {
    feature = Number(pick.value);
    begin = 0;
    arrange();
    show();
  };
  pick.addEventListener("change", restart);
  sort.addEventListener("change", restart);
  back.addEventListener("click", () => { begin = Math.max(0, begin - long); show(); });
  on.addEventListener("click", () => { begin += long; show(); });
  restart();
}

function variances(home) {
  const rows = DATA.components.map(([name, value, low, high]) => ({ name, value, low, high }));
  const known = rows.some((row) => isNumber(row.low));
  // Standard deviations may lie orders apart: a figure of their own for those much smaller.
  const groups = [];
  rows.slice().sort((a, b) => (b.high || b.value) - (a.high || a.value)).forEach((row) => {
    const last = groups[groups.length - 1];
    if (last && (row.high || row.value) > 0.12 * (last[0].high || last[0].value)) last.push(row);
    else groups.push([row]);
  });
  home.append(el("p", {}, `Standard deviations between tasks, of the noise, and numbers of a family, in the table's units${known ? ", with 95 % profile intervals" : ""}.`));
  const figures = groups.slice(0, 4);
  home.append(
    el("figure", {}, ...figures.map((group) => intervals(group.slice(0, 40), { title: "", reference: 0, label: "Standard deviations" }))),
    behind("These as a table", () => table("Standard deviations", ["name", "estimate", "low", "high"], rows.map((row) => [row.name, figure(row.value), figure(row.low), figure(row.high)]))),
  );
  if (DATA.feature_correlations) {
    const [names, below] = DATA.feature_correlations;
    home.append(behind("Correlations of features between tasks", () => table("Correlations of deviations", ["", ...names], names.map((name, k) => [name, ...names.map((_, j) => (j < k ? fixed(below[k][j], 2) : ""))]))));
  }
}

function doubts(home) {
  const { warnings, singular, unlike } = DATA;
  if (warnings.length) home.append(el("ul", {}, ...warnings.map((own) => el("li", {}, sentence(own)))));
  if (singular.length) {
    // Findings that mean the same stand together; they may begin with a name, which is left as it is.
    const groups = new Map();
    singular.forEach(([finding, meaning, remedy]) => {
      const words = `It means: ${meaning}. To do: ${remedy}.`;
      groups.set(words, [...(groups.get(words) || []), finding]);
    });
    const each = ([words, findings]) => el("li", {}, findings.join("; "), el("br"), el("span", { class: "note" }, words));
    home.append(el("h3", {}, "Singular"), el("ul", {}, ...[...groups].map(each)));
  }
  if (unlike && unlike.count) {
    home.append(
      el("h3", {}, `${counted(unlike.count, "task")} unlike the others`),
      table("At a false discovery rate of 5 %", ["task", "distance", "directions", "q", "farthest out in"], unlike.tasks.map((own) => [own[0], fixed(own[1], 1), String(own[2]), figure(own[3]), `${own[4]} (${fixed(own[5], 1)} sd)`])),
    );
  }
  if (!warnings.length && !singular.length && !(unlike && unlike.count)) home.append(el("p", {}, "No warning, nothing singular, and no task unlike the others."));
}

function build() {
  document.getElementById("title").textContent = DATA.title;
  document.getElementById("facts").append(...DATA.facts.map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, value))));
  const verdict = section("verdict");
  DATA.verdict.forEach((sentence) => verdict.append(el("p", {}, sentence)));
  if (DATA.comparison && DATA.comparison.verdict) verdict.append(el("p", { class: "said" }, `By comparison of structures: ${DATA.comparison.verdict.text}`));

  doubts(section("doubts"));
  taskGraph(section("graph"));
  if (DATA.heat) section("relatedness").append(heatMap(DATA.heat));
  parametersOf(section("parameters"));
  if (DATA.components.length) variances(section("variances"));
  if (DATA.gains && DATA.gains.length) gainsOf(section("gains"), DATA.gains);
  if (DATA.comparison) comparison(section("comparison"), DATA.comparison);
  if (DATA.check) calibration(section("calibration"), DATA.check);
  if (DATA.trace.length > 1) {
    const home = section("climb");
    home.append(
      el("p", {}, `Stopped: ${DATA.stop}, after ${counted(DATA.trace[DATA.trace.length - 1][0], "iteration")}.`),
      el(
        "figure",
        {},
        curves([{ name: "", points: DATA.trace.map(([k, value]) => [k, value, null]) }], { title: "iteration", side: "log posterior, in fitted units", label: "Log posterior by iteration", height: 200 }),
      ),
      behind("The climb as a table", () => table("Log posterior by iteration", ["iteration", "log posterior", "edges"], DATA.trace.map(([k, value, edges]) => [String(k), fixed(value, 4), String(edges)]))),
    );
  }
  const origin = section("origin");
  const commands = [...(DATA.history || []), DATA.command].filter(Boolean);
  if (commands.length) origin.append(el("pre", {}, commands.join("\n")));
  origin.append(el("p", { class: "note" }, `cognate ${DATA.version}, seed ${DATA.seed}. The file holds all that it shows and asks nothing of the network; the same model, command and seed make the same bytes. Drawn with d3 (ISC licence, in the source of this page).`));

  const shown = [...document.querySelectorAll("main section")].filter((own) => !own.hidden);
  document.getElementById("contents").append(...shown.map((own) => el("a", { href: `#${own.id}` }, own.querySelector("h2").textContent)));
  document.body.dataset.ready = "yes";
}

build();
