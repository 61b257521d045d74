import json
import re
import sys

import nbclient
import nbformat

from official.utils.testing.data import PROJECT_ROOT

NOTEBOOK = PROJECT_ROOT / "official" / "mnist" / "mnist.ipynb"


def test_the_notebook_runs_and_its_three_figures_are_right(tmp_path, monkeypatch):
    # A kernel of this interpreter, whatever else is registered on the machine.
    kernel = tmp_path / "jupyter" / "kernels" / "this"
    kernel.mkdir(parents=True)
    launch = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    spec = {"argv": launch, "display_name": "this", "language": "python"}
    (kernel / "kernel.json").write_text(json.dumps(spec))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "jupyter"))
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path / "runtime"))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    # The project is on the path by this alone.
    monkeypatch.setenv("PYTHONPATH", str(PROJECT_ROOT))
    work = tmp_path / "work"
    work.mkdir()

    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbclient.NotebookClient(
        notebook,
        kernel_name="this",
        timeout=300,
        resources={"metadata": {"path": str(work)}},
    ).execute()

    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    text = "".join(output.get("text", "") for output in outputs)
    accuracy = {
        name: float(value)
        for name, value in re.findall(r"^(\w+): accuracy (\S+)$", text, re.MULTILINE)
    }
    assert accuracy.keys() == {"fit", "main", "served"}
    assert accuracy["fit"] >= 0.85
    assert accuracy["main"] >= 0.85
    assert accuracy["served"] == accuracy["main"]
    results = json.loads((work / "runs/mnist-notebook/results.json").read_text())
    assert accuracy["main"] == round(results["metrics"]["accuracy"], 4)
    assert any("image/png" in output.get("data", {}) for output in outputs)


def test_the_notebook_is_stored_without_outputs():
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    code_cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert len(code_cells) >= 4
    assert all(not cell.outputs for cell in code_cells)
    assert all(cell.execution_count is None for cell in code_cells)
