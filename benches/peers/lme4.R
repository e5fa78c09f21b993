# Times lme4 on one problem of the benches and prints `name,log-likelihood,user seconds`. Usage: Rscript lme4.R NAME CSV
suppressMessages(library(lme4))
a <- commandArgs(TRUE); name <- a[1]
d <- read.csv(a[2])
if (startsWith(name, "school")) {
  d$school <- factor(d$school); d$f4c <- d$f4 / 100; d$f5c <- d$f5 / 100
  fixed <- "f1+f2+f4+f5+f6+f8+f9+f10+f11+f12+f13+f14+f15+f16+f17+f18+f19+f20+f22+f23+f25+f26"
  random <- if (name == "school_28_diagonal") paste0("(", paste(c("f1","f2","f3","f4c","f5c",paste0("f",6:27)), collapse="+"), "||school)") else "(f1+f2+f4c+f5c+f6+f8+f9+f11|school)"
  formula <- as.formula(paste("score ~", fixed, "+", random))
} else if (name == "chem97") {
  d$school <- factor(d$school); formula <- score ~ gcsecnt + (gcsecnt | school)
} else if (name == "insteval") {
  d$d <- factor(d$d); formula <- y ~ 1 + (1 | d)
} else {
  d$g <- factor(d$g); formula <- y ~ 1 + (1 | g)
}
time <- system.time(m <- suppressWarnings(suppressMessages(lmer(formula, d, REML = FALSE))))
cat(sprintf("%s,%.6f,%.3f\n", name, as.numeric(logLik(m)), time[["user.self"]]))
