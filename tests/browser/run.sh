#!/usr/bin/env bash
# Opens reports in a headless Chromium: no error, nothing from the network, slider, search and click at work, time to load, screenshots.
# Screenshots are left in the folder named by the first argument (default: a temporary one).
set -euo pipefail
cd "$(dirname "$0")/../.."
root=$(pwd)
if ! command -v chromium >/dev/null || ! command -v node >/dev/null || ! command -v npm >/dev/null; then
  apt-get update -qq && apt-get install -y -qq chromium nodejs npm >/dev/null
fi
# COGNATE names a program that is there already.
[ -n "${COGNATE:-}" ] || cargo build --release --quiet
cognate=${COGNATE:-$root/target/release/cognate}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
shots=${1:-$work/shots}
mkdir -p "$shots"
npm install --silent --no-audit --no-fund --prefix "$work" puppeteer-core@24.43.1 >/dev/null
cp tests/browser/check.mjs "$work/"
cd "$work"

school="$root/data/school.csv.gz --task school --target score --features f4,f5,f6,f8,f9 --quiet"
"$cognate" fit $school --model school.cognate >fit.txt
"$cognate" compare $school --structures independent,pooled,exchangeable --format json >compare.json
"$cognate" report school.cognate "$root/data/school.csv.gz" --compare compare.json -o school.html

"$cognate" simulate --tasks 3 --seed 1 -o three.csv
"$cognate" fit three.csv --task task --target y --structure full --report three.html --quiet >fit.txt

"$cognate" simulate --tasks 40 --features 40 --graph random --noise-ratio 0.1 --seed 2 -o forty.csv
"$cognate" fit forty.csv --task task --target y --structure graph --report graph.html --quiet >fit.txt

# Names that would run, were they markup.
sed 's#^t1,#<img src=x onerror=alert(1)>,#; s#^t2,#</script><script>alert(1)</script>,#; s#^t3,#"a ""b"" \& c",#' three.csv >bad.csv
"$cognate" fit bad.csv --task task --target y --structure full --report names.html --quiet >fit.txt

# Five thousand tasks along a given chain.
"$cognate" simulate --tasks 5000 --features 10 --graph chain --rows 15 --seed 3 -o many.csv
{ echo source,target; seq 1 4999 | while read -r t; do echo "t$t,t$((t + 1))"; done; } >chain.csv
"$cognate" fit many.csv --task task --target y --structure known --graph chain.csv --intervals plug-in --report many.html --quiet >fit.txt

node check.mjs "$shots" school.html three.html graph.html names.html many.html
