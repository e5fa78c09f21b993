#!/usr/bin/env bash
# Compares cognate's edge probabilities with the two-stage route, least squares for each task and then a graphical model on the estimates.
# SEEDS data sets for each of the NOISE ratios, BDgraph with ITER iterations, half of them burn-in; COGNATE is the program to run. One thread.
# The seconds of cognate hold the reading of the table and all else a fit does, those of the others only least squares and the graph.
set -euo pipefail
cd "$(dirname "$0")/.."
export OPENBLAS_NUM_THREADS=1 OMP_NUM_THREADS=1 RAYON_NUM_THREADS=1
if ! Rscript -e 'library(huge); library(glasso); library(BDgraph); library(jsonlite)' >/dev/null 2>&1; then
  apt-get update -qq && apt-get install -y -qq r-cran-huge r-cran-glasso r-cran-bdgraph r-cran-jsonlite >/dev/null
fi
if [ -z "${COGNATE:-}" ]; then
  cargo build --release --quiet
  COGNATE=target/release/cognate
fi
at=target/bench/rivals
mkdir -p $at
rm -f $at/scores.csv
TIMEFORMAT=%U

for seed in $(seq 1 "${SEEDS:-10}"); do
  for noise in ${NOISE:-0.3 1}; do
    "$COGNATE" simulate --graph random --tasks 50 --features 100 --rows 200 --noise-ratio "$noise" --seed "$seed" \
      --truth $at/truth.json -o $at/data.csv --threads 1 --quiet
    # The features as they stand, one variance for all, as they were drawn. No flag leaves the common intercept out, whose true value is 0.
    { time {
      "$COGNATE" fit $at/data.csv --task task --target y --structure graph --feature-covariance scalar --standardise none \
        --no-task-intercept --model $at/model --threads 1 --quiet >/dev/null
      # Every pair that is named at all, those of probability .02 or more.
      "$COGNATE" graph $at/model --fdr 0.999 --format csv --threads 1 --quiet > $at/all.csv
    }; } 2> $at/seconds
    "$COGNATE" graph $at/model --fdr 0.1 --format csv --threads 1 --quiet > $at/chosen.csv
    Rscript benches/peers/rivals.R score $at "$noise" "$seed" "${ITER:-20000}" >> $at/scores.csv
  done
done
Rscript benches/peers/rivals.R table $at
