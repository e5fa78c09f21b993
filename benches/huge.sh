#!/usr/bin/env bash
# Times the node-wise M-step beside huge's glasso path on the same data, OBSERVATIONS of 300 variables with 300 edges, and prints how well both rank.
set -euo pipefail
cd "$(dirname "$0")/.."
export OPENBLAS_NUM_THREADS=1 OMP_NUM_THREADS=1
if ! Rscript -e 'library(huge)' >/dev/null 2>&1; then
  apt-get update -qq && apt-get install -y -qq r-cran-huge >/dev/null
fi
at=target/bench/huge
mkdir -p $at
for observations in ${OBSERVATIONS:-1000 100}; do
  Rscript - "$observations" "$at" <<'R'
a <- commandArgs(TRUE); n <- as.integer(a[1]); p <- 300
set.seed(1); K <- diag(p); e <- NULL
while (NROW(e) < p) {
  ij <- sort(sample(p, 2)); if (K[ij[1], ij[2]] != 0) next
  L <- K; L[ij[1], ij[2]] <- L[ij[2], ij[1]] <- runif(1, .25, .5) * sample(c(-1, 1), 1)
  if (min(eigen(L, TRUE, only.values = TRUE)$values) > .1) { K <- L; e <- rbind(e, ij) }
}
x <- matrix(rnorm(n * p), n) %*% t(solve(chol(K)))
write.table(x, file.path(a[2], "x.csv"), sep = ",", row.names = FALSE, col.names = FALSE)
write.table(e, file.path(a[2], "e.csv"), sep = ",", row.names = FALSE, col.names = FALSE)
R
  echo "$observations observations: name, user seconds, AUC (huge: best along the path, and of the path's ranking)"
  Rscript benches/peers/huge.R $at/x.csv $at/e.csv
  cargo bench --quiet --bench scores -- "$PWD/$at/x.csv" "$PWD/$at/e.csv"
done
