#!/usr/bin/env bash
# Executes the notebooks and holds their outputs to those committed: notebooks/run.sh [--update] [NAME.ipynb ..]
# With --update the outputs go into the notebooks instead. What is absent (kernel, nbconvert) comes into target/notebooks.
set -euo pipefail
cd "$(dirname "$0")/.."
version=0.22.0
place=$PWD/target/notebooks
mode=check
if [ "${1:-}" = --update ]; then mode=update; shift; fi
[ $# -gt 0 ] || set -- notebooks/*.ipynb

# The kernel: the user's own if it is of this version, else one built at a low level of optimisation (at none it takes minutes to start).
# It finds the types of variables by the sources of the standard library.
kernel=${CARGO_HOME:-$HOME/.cargo}/bin/evcxr_jupyter
if ! cargo install --list | grep -q "^evcxr_jupyter v$version:"; then
  kernel=$place/evcxr/bin/evcxr_jupyter
  if ! grep -qs "\"evcxr_jupyter $version " "$place/evcxr/.crates.toml"; then
    CARGO_PROFILE_RELEASE_OPT_LEVEL=1 cargo install evcxr_jupyter --locked --version $version --root "$place/evcxr"
  fi
fi
[ -d "$(rustc --print sysroot)/lib/rustlib/src" ] || rustup component add rust-src
JUPYTER_PATH=$place/share "$kernel" --install >/dev/null

if ! cmp -s notebooks/requirements.txt "$place/python/requirements.txt"; then
  rm -rf "$place/python"
  python3 -m venv "$place/python"
  "$place/python/bin/pip" install --quiet --requirement notebooks/requirements.txt
  cp notebooks/requirements.txt "$place/python/"
fi

# All notebooks are compiled in one folder, so that cognate is built once; as a member of this workspace, so that its dependencies are those of Cargo.lock.
mkdir -p "$place/build/cells" "$place/build/pinned/src"
cp Cargo.lock "$place/build/Cargo.lock"
cat > "$place/build/Cargo.toml" <<'TOML'
[workspace]
members = ["cells", "pinned"]
resolver = "3"

[profile.dev]
opt-level = 1
debug = false
rpath = true
incremental = false
debug-assertions = false
overflow-checks = false
TOML
printf '[package]\nname = "pinned"\nedition = "2024"\n\n[dependencies]\ncognate = { path = "../../../.." }\n' > "$place/build/pinned/Cargo.toml"
touch "$place/build/pinned/src/lib.rs"

rm -rf "$place/executed"
JUPYTER_PATH=$place/share EVCXR_TMPDIR=$place/build/cells "$place/python/bin/jupyter-nbconvert" --log-level=WARN --to notebook --execute \
  --ExecutePreprocessor.timeout=-1 --ExecutePreprocessor.startup_timeout=600 --ExecutePreprocessor.record_timing=False \
  --output-dir "$place/executed" "$@"
python3 notebooks/outputs.py $mode "$place/executed" "$@"
