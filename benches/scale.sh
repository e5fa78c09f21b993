#!/bin/sh
# benches/scale.sh ROWS TASKS: a CSV table of 20 features made, summed and fitted by cognate, and the same sums by DuckDB's SQL, on two threads and
# with the file in the page cache for both, in turn. The table is written to ${TMPDIR:-/tmp} (about 400 bytes a row) and deleted.
set -e
cd "$(dirname "$0")/.."
rows=${1:-1000000}
tasks=${2:-10000}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
[ -d target/bench/duckdb ] || { python3 -m venv target/bench/duckdb && target/bench/duckdb/bin/pip install -q duckdb; }
cargo bench -q --bench scale -- write "$folder/table.csv" "$rows" "$tasks"
ls -l "$folder/table.csv" | awk '{print $5 / 1e9 " GB"}'
cat "$folder/table.csv" > /dev/null
cat > "$folder/sums.py" <<'PYTHON'
import duckdb, resource, sys, time
duckdb.sql("set enable_progress_bar = false")
path, threads = sys.argv[1], int(sys.argv[2])
names = ['1'] + [f'x{k}' for k in range(1, 21)] + ['y']
sums = ', '.join(f'sum({a} * {b})' for i, a in enumerate(names) for b in names[:i + 1])
duckdb.sql(f"set threads to {threads}")
for _ in range(2):
    begin, used = time.time(), time.process_time()
    duckdb.sql(f"create or replace temp table sums as select task, {sums} from read_csv('{path}') group by task")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(f'DuckDB {duckdb.__version__}, {threads} threads: {time.time() - begin:.2f} s, {time.process_time() - used:.2f} s CPU, peak {peak:.2f} GB')
PYTHON
cargo bench -q --bench scale -- "$folder/table.csv" 2
target/bench/duckdb/bin/python "$folder/sums.py" "$folder/table.csv" 2
