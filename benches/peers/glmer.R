# Times glmer (Laplace) on one problem of the benches and prints `name,log-likelihood,user seconds`. Usage: Rscript glmer.R NAME FOLDER
suppressMessages(library(lme4))
a <- commandArgs(TRUE); name <- a[1]
d <- read.csv(file.path(a[2], paste0(sub("_urban", "", name), ".csv")))
formula <- list(contraception = use ~ age + (1 | district), contraception_urban = use ~ age + urban + (urban | district),
  grouseticks = ticks ~ y96 + y97 + h100 + (1 | location), cbpp = incidence / size ~ p2 + p3 + p4 + (1 | herd))[[name]]
family <- if (name == "grouseticks") poisson() else binomial()
weights <- if (name == "cbpp") d$size else rep(1, nrow(d))
times <- replicate(5, system.time(m <<- suppressWarnings(suppressMessages(glmer(formula, d, family, weights = weights))))[["user.self"]])
cat(sprintf("%s,%.6f,%.3f\n", name, as.numeric(logLik(m)), median(times)))
