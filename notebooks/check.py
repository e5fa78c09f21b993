"""Compiles the cells of every notebook as one program against the library and compares what it prints with the outputs shown.

Run after `cargo build --release`, from anywhere. It does for a gate what `jupyter nbconvert --execute` with the evcxr kernel does for the outputs.
"""
import json, pathlib, subprocess, sys

here = pathlib.Path(__file__).resolve().parent
target = here.parent / "target" / "release"
failed = False
for path in sorted(here.glob("*.ipynb")):
    cells = [cell for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == "code"]
    lines = [line for cell in cells for line in "".join(cell["source"]).split("\n") if not line.startswith(":dep")]
    shown = "".join("".join(output["text"]) for cell in cells for output in cell["outputs"] if output["output_type"] == "stream")
    source = target / f"{path.stem}.rs"
    source.write_text("fn main() -> Result<(), Box<dyn std::error::Error>> {\n" + "\n".join(lines) + "\nOk(())\n}\n")
    program = source.with_suffix("")
    subprocess.run(["rustc", "--edition=2024", "-O", "-A", "warnings", "-o", program, source, "--extern", f"cognate={target / 'libcognate.rlib'}",
                    "-L", f"dependency={target / 'deps'}"], check=True)
    printed = subprocess.run([program], check=True, capture_output=True, text=True, cwd=here).stdout
    same = [line for line in printed.split("\n") if line] == [line for line in shown.split("\n") if line]
    print(f"{path.name}: {'the outputs shown are what the cells print' if same else 'the outputs shown are out of date; execute it again'}")
    failed = failed or not same
sys.exit(failed)
