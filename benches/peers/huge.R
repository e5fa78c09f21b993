# Times huge's glasso path on one table and prints how well it ranks the true edges. Usage: Rscript huge.R CSV TRUTH
# CSV has no header, a row an observation and a column a variable; TRUTH a line `i,j` for each edge, counted from 1. Prints `name,user seconds less the
# fixed cost,best AUC along the path,AUC of the path ranking`, and before it on stderr the seconds of the whole and of the first 50 variables, the fixed cost.
suppressMessages(library(huge))
a <- commandArgs(TRUE)
x <- as.matrix(read.csv(a[1], header = FALSE)); dimnames(x) <- NULL
pairs <- as.matrix(read.csv(a[2], header = FALSE))
true <- matrix(FALSE, ncol(x), ncol(x)); true[pairs] <- TRUE
above <- upper.tri(true); true <- (true | t(true))[above]
# Area under the ROC curve, ties half.
auc <- function(score) {
  ranks <- rank(score); hits <- sum(true)
  (sum(ranks[true]) - hits * (hits + 1) / 2) / (hits * sum(!true))
}
run <- function(x) huge(x, method = "glasso", nlambda = 30, verbose = FALSE)
path <- run(x)
# The median of five, after one that is not measured.
seconds <- function(x) median(replicate(5, system.time(run(x))[["user.self"]]))
whole <- seconds(x); fixed <- seconds(x[, 1:50])
message(sprintf("huge %s, 30 lambdas: %.3f s, of which fixed %.3f s", packageVersion("huge"), whole, fixed))
best <- max(sapply(path$icov, function(precision) auc(abs(cov2cor(as.matrix(precision)))[above])))
entered <- Reduce(`+`, lapply(path$path, function(graph) as.matrix(graph) != 0))[above]
cat(sprintf("huge,%.3f,%.6f,%.6f\n", whole - fixed, best, auc(entered)))
