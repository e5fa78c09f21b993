"""Holds the outputs of executed notebooks to those committed (check), or writes them there (update), without what differs from run to run.

Usage: outputs.py check|update FOLDER NOTEBOOK..., the executed ones in FOLDER. What is built while a cell runs is said on stderr, which is left out.
"""
import difflib, json, pathlib, sys


def outputs(cell):
    """What a cell shows: its text in one piece, then what it displays; the kernel sends the two side by side, in no order."""
    streams = [output for output in cell["outputs"] if output["output_type"] == "stream" and output["name"] == "stdout"]
    text = "".join(line for output in streams for line in output["text"])
    shown = [{"name": "stdout", "output_type": "stream", "text": text.splitlines(keepends=True)}] if text else []
    for output in cell["outputs"]:
        if "data" in output:
            data = {kind: "".join(text).splitlines(keepends=True) for kind, text in output["data"].items()}
            shown.append({"data": data, "metadata": {}, "output_type": "display_data"})
    return shown


def lines(shown):
    """The lines of outputs, each with what kind of output it is of."""
    parts = [part for output in shown for part in output.get("data", {"text": output.get("text")}).items()]
    return [f"{kind}: {line.rstrip()}" for kind, text in parts for line in text]


mode, folder, *paths = sys.argv[1:]
failed = False
for path in map(pathlib.Path, paths):
    committed, executed = (json.loads(file.read_text()) for file in (path, pathlib.Path(folder) / path.name))
    cells = [(number, cell) for number, cell in enumerate(committed["cells"]) if cell["cell_type"] == "code"]
    ran = [cell for cell in executed["cells"] if cell["cell_type"] == "code"]
    for count, ((number, cell), new) in enumerate(zip(cells, ran, strict=True), start=1):
        if mode == "update":
            cell.update(execution_count=count, metadata={}, outputs=outputs(new))
            continue
        told, found = lines(outputs(cell)), lines(outputs(new))
        if told != found:
            failed = True
            print("\n".join(difflib.unified_diff(told, found, f"{path}, cell {number}, as committed", "as executed", lineterm="", n=1)))
    if mode == "update":
        path.write_text(json.dumps(committed, indent=1, ensure_ascii=False) + "\n")
if mode == "check":
    print("notebooks: outputs differ; notebooks/run.sh --update writes those of this run" if failed else "notebooks: all outputs are as committed")
sys.exit(failed)
