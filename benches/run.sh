#!/usr/bin/env bash
# Fits every bench problem with cognate and with its peer, in one run on one thread, and prints the ratios as a table.
# STATSMODELS=1 adds statsmodels on the random-intercept table (about 40 minutes).
set -euo pipefail
cd "$(dirname "$0")/.."
export OPENBLAS_NUM_THREADS=1 OMP_NUM_THREADS=1
if ! Rscript -e 'library(lme4)' >/dev/null 2>&1; then
  apt-get update -qq && apt-get install -y -qq r-cran-lme4 >/dev/null
fi
mkdir -p target/bench
for name in school chem97 insteval_d; do
  from=data/$name.csv.gz
  [ -f "$from" ] || from=tests/oracles/$name.csv.gz
  gzip -dc "$from" > "target/bench/$name.csv"
done
cargo bench --quiet --bench fit -- write target/bench/intercepts.csv
problems="${PROBLEMS:-school_28_diagonal school_8_full school_22_full chem97 insteval intercepts}"
[ "${STATSMODELS:-0}" = 0 ] || python3 -c 'import statsmodels' 2>/dev/null || python3 -m pip install --quiet statsmodels

# One row: problem, peer, and the peer's `name,log-likelihood,user seconds`.
row() {
  IFS=, read -r _ pll ps <<< "$3"
  IFS=, read -r _ ll seconds reading peak <<< "$(cargo bench --quiet --bench fit -- only "$1" | grep "^$1,")"
  ratio=$([ "$ps" = - ] && echo - || awk "BEGIN { printf \"%.0f\", $ps / $seconds }")
  echo "| $1 | $2 | $pll | $ps | $ll | $seconds | $ratio | $reading | $peak |"
}

echo "| problem | peer | peer log-likelihood | peer user s | cognate log-likelihood | cognate user s | ratio | reading s | peak MB |"
echo "|---|---|---|---|---|---|---|---|---|"
for name in $problems; do
  case $name in
    school_22_full) row $name "lme4 (did not finish in 25 minutes)" $name,-,-; continue ;;
    school_*) table=school ;;
    insteval) table=insteval_d ;;
    *) table=$name ;;
  esac
  row $name lme4 "$(Rscript benches/peers/lme4.R $name target/bench/$table.csv)"
  if [ $name = intercepts ] && [ "${STATSMODELS:-0}" = 1 ]; then
    row $name statsmodels "$(python3 benches/peers/statsmodels_intercepts.py target/bench/intercepts.csv)"
  fi
done
