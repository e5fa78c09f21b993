//! What a comparison of structures and a check of forecasts found.
"use strict";

function ladder(rungs, caption, best) {
  const metrics = [["brier", "Brier score"], ["task_auc", "AUC within tasks"], ["rmse", "RMSE"]].filter(([key]) => rungs.some((rung) => isNumber(rung.metrics[key])));
  const known = rungs.filter((rung) => !rung.refused);
  const rows = known.map((rung) => [
    rung.name,
    fixed(rung.score, 4),
    fixed(rung.difference, 4),
    fixed(rung.difference_se, 4),
    ...metrics.map(([key]) => fixed(rung.metrics[key], 4)),
    percent(rung.metrics.explained_variance, 2),
  ]);
  const heads = ["structure", "log density a row", "difference", "se", ...metrics.map((own) => own[1]), "explained"];
  return table(caption, heads, rows, { best: known.findIndex((rung) => rung.name === best) });
}

function comparison(home, own) {
  if (own.verdict) home.append(el("p", { class: "said" }, sentence(own.verdict.text)));
  if (own.rungs) {
    if (own.best) home.append(el("p", {}, `Best: ${own.best}. The simplest of those as good: ${own.simplest}.`));
    const known = own.rungs.filter((rung) => isNumber(rung.difference));
    const row = (rung) => ({
      name: rung.name,
      value: rung.difference,
      low: isNumber(rung.difference_se) ? rung.difference - 1.96 * rung.difference_se : null,
      high: isNumber(rung.difference_se) ? rung.difference + 1.96 * rung.difference_se : null,
    });
    if (known.length > 1) {
      home.append(
        el(
          "figure",
          {},
          intervals(known.map(row), { title: "difference of held-out log density a row to the best", reference: 0, label: "Structures by held-out log density" }),
          el("figcaption", {}, "Held-out log predictive density a row less that of the best structure, with 95 % intervals of the paired difference, clustered by task."),
        ),
      );
    }
    home.append(ladder(own.rungs, "The ladder, simple to rich", own.best));
    own.rungs.filter((rung) => rung.refused).forEach((rung) => home.append(el("p", { class: "note" }, `${rung.name} was refused: ${rung.refused}`)));
    if (own.outer) home.append(el("h3", {}, "On rows that had no part in the choice"), ladder(own.outer.rungs, counted(own.outer.rows, "row"), null));
    if (own.command) home.append(el("p", { class: "note" }, "To fit the pick:"), el("pre", {}, own.command));
  }
  if (own.curves) {
    const lines = own.curves.map((curve) => ({ name: curve.name, loose: curve.name === "alone", points: curve.shots.filter((shot) => isNumber(shot.score)).map((shot) => [shot.rows, shot.score, shot.score_se]) }));
    const drawn = lines.filter((line) => line.points.length);
    home.append(el("h3", {}, "New tasks after few of their rows"));
    if (drawn.length) {
      home.append(
        el(
          "figure",
          {},
          curves(drawn, { title: "rows of the new task", side: "held-out log density a row", label: "Curves of new tasks" }),
          el("figcaption", {}, "Log predictive density of further rows of tasks that no fit has seen, after so many of their own; bars are 95 % intervals, clustered by task. Tasks alone may be too bad for the figure; the table has all."),
        ),
        behind("Curves as a table", () =>
          table("Log density, and gain over the task alone", ["structure", "rows", "log density", "se", "gain", "se"], own.curves.flatMap((curve) => curve.shots.map((shot) => [curve.name, String(shot.rows), fixed(shot.score, 4), fixed(shot.score_se, 4), fixed(shot.gain, 4), fixed(shot.gain_se, 4)])))),
      );
    }
    own.curves.filter((curve) => curve.refused).forEach((curve) => home.append(el("p", { class: "note" }, `${curve.name} was refused: ${curve.refused}`)));
  }
}

/** Gains of tasks: all intervals, the losers first. */
function gainsOf(home, gains) {
  const number = new Map(DATA.tasks.names.map((name, t) => [name, t]));
  const sorted = gains.slice().sort((a, b) => a[1] - b[1]);
  const [losers, winners] = [sorted.filter((own) => own[3] < 0), sorted.filter((own) => own[2] > 0)];
  home.append(
    el("p", {}, `${winners.length.toLocaleString("en")} of ${counted(gains.length, "task")} gain by sharing (${DATA.gains_of || "the fit"}) and ${losers.length} lose, for sure (95 % intervals); nats of log predictive density a row against being learned alone.`),
  );
  if (DATA.detached.length) home.append(el("p", {}, `Detached, and fitted alone: ${DATA.detached.slice(0, 20).join(", ")}${DATA.detached.length > 20 ? ` and ${DATA.detached.length - 20} more` : ""}.`));
  const few = 30;
  const shown = sorted.length <= 2 * few ? sorted : [...sorted.slice(0, few), ...sorted.slice(-few)];
  const row = ([name, value, low, high]) => ({ name, value, low, high, task: number.get(name), kind: high < 0 ? "other" : "mark" });
  home.append(
    el(
      "figure",
      {},
      intervals(shown.map(row), { title: "expected gain, nats a row", reference: 0, label: "Gains of tasks" }),
      el("figcaption", {}, `Expected gain of each task with its 95 % interval, shrunk across tasks${shown.length < sorted.length ? `; the ${few} lowest and the ${few} highest of ${sorted.length.toLocaleString("en")}` : ""}.`),
    ),
  );
}

/** Calibration of forecasts and what does not fit. */
function calibration(home, check) {
  const whose = {
    fit: check.left_out ? "The rows are those of the fit; each is judged by a forecast that leaves it out." : "The rows are those of the fit, and their forecasts have seen them: what is wrong shows less than on held-out rows.",
    part: "Of some tasks the rows are those of the fit, of others they are taken as held out.",
    others: "The rows are taken as held out.",
  }[check.origin];
  home.append(el("p", {}, `${counted(check.rows, "row")} of ${counted(check.count, "task")}. ${whose}`));
  const { pit } = check;
  home.append(
    el(
      "ul",
      {},
      ...(pit.findings.length ? pit.findings : ["Nothing is wrong with the calibration beyond chance."]).map((finding) => el("li", {}, finding)),
    ),
    el(
      "figure",
      {},
      histogram(pit.shares, "Where targets fall in their forecasts, by tenths"),
      el("figcaption", {}, `Where targets fall in their forecasts (10 % in each tenth where these are calibrated; test of that, with rows of a task taken as alike: p = ${figure(pit.p_value)}). A U says that intervals are too narrow, a hump that they are too wide.`),
    ),
    table("Coverage of central intervals", ["interval", "targets in it", "se"], pit.coverage.map((own) => [percent(own.level), percent(own.covered, 1), percent(own.covered_se, 1)])),
    el("h3", {}, check.misfits ? `${counted(check.misfits, "task")} of ${check.count} ${check.misfits === 1 ? "does" : "do"} not fit` : "Tasks that fit worst (none does not fit)"),
    table(
      "Residuals by task, at a false discovery rate of 5 %",
      ["task", "rows", "mean", "z", "spread", "95 % interval", "q"],
      check.tasks.map((own) => [own.task, String(own.rows), fixed(own.mean, 3), fixed(own.z, 2), fixed(own.spread, 2), own.spread_interval ? `${fixed(own.spread_interval[0], 2)} to ${fixed(own.spread_interval[1], 2)}` : "–", figure(own.q_value)]),
    ),
  );
  if (check.replicated) {
    const what = { targets: "targets", residuals: "residuals", tasks: "means of tasks" };
    home.append(
      behind("Replicated data: what the model would have made of the same rows", () =>
        table(
          "Observed and replicated quantities",
          ["quantity", "observed", "replicated", "95 % of replications", "p"],
          check.replicated.map((own) => [`${own.group ? `${own.group}: ` : ""}${what[own.of] || own.of}, ${own.name}`, figure(own.observed), figure(own.replicated), `${figure(own.lower)} to ${figure(own.upper)}`, fixed(own.p_value, 3)]),
        )),
    );
  }
}
