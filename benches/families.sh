#!/usr/bin/env bash
# Fits lme4's data sets of other families with cognate and with glmer, in one run on one thread, and a million rows with cognate alone.
set -euo pipefail
cd "$(dirname "$0")/.."
export OPENBLAS_NUM_THREADS=1 OMP_NUM_THREADS=1
if ! Rscript -e 'library(lme4)' >/dev/null 2>&1; then
  apt-get update -qq && apt-get install -y -qq r-cran-lme4 >/dev/null
fi
cargo bench --quiet --bench families >target/families.csv
echo "| problem | glmer log-likelihood | glmer user s | cognate, laplace | user s | ratio | cognate, variational | user s | ratio | with full intervals, user s | ratio | exact | user s | ratio |"
echo "|---|---|---|---|---|---|---|---|---|---|---|---|---|---|"
for name in contraception contraception_urban grouseticks cbpp; do
  IFS=, read -r _ pll ps <<< "$(Rscript benches/peers/glmer.R $name tests/oracles)"
  line="| $name | $pll | $ps |"
  for inference in laplace variational full exact; do
    IFS=, read -r _ _ ll seconds <<< "$(grep "^$name,$inference," target/families.csv)"
    if [ $inference = full ]; then ll=; else ll="$ll |"; fi
    line="$line $ll $seconds | $(awk "BEGIN { printf \"%.1f\", $ps / $seconds }") |"
  done
  echo "$line"
done
grep '^million' target/families.csv
