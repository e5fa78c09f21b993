# Scores the edges that cognate, glasso and BDgraph find in one simulated table against its true graph, and prints the mean scores as tables.
# Usage: Rscript rivals.R score DIRECTORY NOISE SEED ITERATIONS, a line a method; Rscript rivals.R table DIRECTORY, of the lines in scores.csv
suppressMessages({library(huge); library(BDgraph); library(jsonlite)})
a <- commandArgs(TRUE); at <- a[2]

# Area under the ROC curve, ties half.
auc <- function(score, true) {
  ranks <- rank(score); hits <- sum(true)
  (sum(ranks[true]) - hits * (hits + 1) / 2) / (hits * sum(!true))
}
# Share of the true edges in the largest top of the ranking of which at most a tenth is false; tied pairs enter together, those scored 0 never.
power_at_tenth <- function(score, true) {
  tops <- sapply(unique(score[score > 0]), function(least) c(sum(true[score >= least]), sum(score >= least)))
  if (length(tops) == 0) return(0)
  fair <- 10 * tops[1, ] >= 9 * tops[2, ]
  if (any(fair)) max(tops[1, fair]) / sum(true) else 0
}
stopifnot(
  auc(c(4, 3, 2, 1), c(TRUE, TRUE, FALSE, FALSE)) == 1, auc(c(1, 1, 1), c(TRUE, FALSE, FALSE)) == 0.5,
  auc(c(3, 2, 2, 1), c(FALSE, TRUE, FALSE, TRUE)) == 0.125,
  power_at_tenth(c(12:1, 0), rep(c(TRUE, FALSE, TRUE, FALSE), c(9, 1, 1, 2))) == 1,
  power_at_tenth(rep(1:0, each = 4), rep(c(TRUE, FALSE), 4)) == 0, power_at_tenth(numeric(3), c(TRUE, FALSE, FALSE)) == 0
)

scores <- function() {
  truth <- fromJSON(file.path(at, "truth.json"))
  tasks <- truth$graph$nodes$task
  above <- upper.tri(diag(length(tasks)))
  # The values of named pairs in the order of all others, 0 where a pair is not named.
  pairs <- function(edges, value) {
    m <- matrix(0, length(tasks), length(tasks))
    m[cbind(match(edges$source, tasks), match(edges$target, tasks))] <- value
    (m + t(m))[above]
  }
  true <- pairs(truth$graph$edges, 1) == 1
  line <- function(method, seconds, area, power, set) {
    cat(sprintf("%s,%s,%s,%.6f,%.6f,%d,%d,%d,%.3f\n", a[3], a[4], method, area, power, sum(set), sum(set & true), sum(true), seconds))
  }
  ranked <- function(method, seconds, score, set) line(method, seconds, auc(score, true), power_at_tenth(score, true), set)
  all <- read.csv(file.path(at, "all.csv")); chosen <- read.csv(file.path(at, "chosen.csv"))
  ranked("cognate", as.numeric(readLines(file.path(at, "seconds"))), pairs(all, all$probability), pairs(chosen, rep(1, nrow(chosen))) > 0)

  data <- read.csv(file.path(at, "data.csv"))
  x <- as.matrix(data[setdiff(names(data), c("task", "y"))])
  rows <- split(seq_len(nrow(data)), factor(data$task, tasks))
  # Features are the observations and tasks the variables; without the centring the features' common means would be taken for relations.
  first <- system.time({
    estimates <- sapply(rows, function(i) lm.fit(x[i, ], data$y[i])$coefficients)
    estimates <- estimates - rowMeans(estimates)
  })[["user.self"]]

  seconds <- system.time({
    path <- huge(estimates, method = "glasso", nlambda = 30, verbose = FALSE)
    ebic <- huge.select(path, criterion = "ebic", ebic.gamma = 0.5, verbose = FALSE)
  })[["user.self"]]
  size <- function(precision) abs(cov2cor(as.matrix(precision)))[above]
  set <- as.matrix(ebic$refit)[above] != 0
  ranked("glasso EBIC", first + seconds, size(ebic$opt.icov) * set, set)
  # Beside it the whole path: the earlier in, the higher; of those in at once, the larger at the path's end.
  entered <- Reduce(`+`, lapply(path$path, function(graph) as.matrix(graph) != 0))[above]
  ranked("glasso path", first + seconds, entered + size(path$icov[[30]]) * (entered > 0), rep(FALSE, sum(above)))
  # And the lambda that the truth would choose, each score's own: no way of choosing among them does better.
  at_each <- sapply(seq_along(path$lambda), function(i) {
    scored <- size(path$icov[[i]]) * (as.matrix(path$path[[i]])[above] != 0)
    c(auc(scored, true), power_at_tenth(scored, true))
  })
  line("glasso best lambda", first + seconds, max(at_each[1, ]), max(at_each[2, ]), rep(FALSE, sum(above)))

  set.seed(as.integer(a[4]))
  seconds <- system.time(
    chain <- bdgraph(estimates, method = "ggm", iter = as.integer(a[5]), cores = 1, verbose = FALSE)
  )[["user.self"]]
  links <- plinks(chain, round = 10)[above]
  ranked("BDgraph", first + seconds, links, links > 0.5)
}

tables <- function() {
  columns <- c("noise", "seed", "method", "auc", "power", "chosen", "found", "edges", "seconds")
  all <- read.csv(file.path(at, "scores.csv"), header = FALSE, col.names = columns)
  methods <- unique(all$method)
  each <- function(row) for (noise in unique(all$noise)) for (method in methods) {
    row(noise, method, all[all$noise == noise & all$method == method, ], all[all$noise == noise & all$method == "cognate", ])
  }
  # Mean difference to cognate over the seeds and its standard error.
  less <- function(own, cognate) {
    difference <- own - cognate
    sprintf("%+.4f (%.4f)", mean(difference), sd(difference) / sqrt(length(difference)))
  }
  cat("| noise | method | seeds | AUC | less cognate's (SE) | power at 10 % true FDR | less cognate's (SE) | user s |\n|---|---|---|---|---|---|---|---|\n")
  each(function(noise, method, own, cognate) {
    same <- method == "cognate"
    stopifnot(own$seed == cognate$seed)
    cat(sprintf("| %s | %s | %d | %.4f | %s | %.3f | %s | %.2f |\n", noise, method, nrow(own), mean(own$auc), if (same) "-" else less(own$auc, cognate$auc),
                mean(own$power), if (same) "-" else less(own$power, cognate$power), mean(own$seconds)))
  })
  # The false discovery rate is the mean share of false ones, 0 where nothing is chosen.
  cat("\n| noise | method | its own set | edges chosen | FDR | power | seeds with any |\n|---|---|---|---|---|---|---|\n")
  rules <- c("cognate" = "--fdr 0.1", "glasso EBIC" = "EBIC, gamma .5", "BDgraph" = "plinks > .5")
  each(function(noise, method, own, cognate) if (method %in% names(rules)) {
    cat(sprintf("| %s | %s | %s | %.1f | %.3f | %.3f | %d |\n", noise, method, rules[[method]], mean(own$chosen),
                mean((own$chosen - own$found) / pmax(own$chosen, 1)), mean(own$found / own$edges), sum(own$chosen > 0)))
  })
}

if (a[1] == "score") scores() else tables()
