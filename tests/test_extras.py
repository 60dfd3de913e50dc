"""A small installation reads runs without the packages of the extras, and says of all else what to install."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from raycv.extras import EXTRAS, needed, sentence
from raycv.run.store import RunStore
from tests.support.report_run import write_run

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
# Names on the index, of packages that are imported by others.
OF = {
    "sklearn": "scikit-learn",
    "ot": "pot",
    "PIL": "pillow",
    "mlflow": "mlflow-skinny",
    "tensorboardX": "tensorboardx",
}
BLOCKED = f"""
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {set(EXTRAS)!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Absent())
"""


def without(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """What a process does in which none of the packages of the extras can be imported."""
    command = [sys.executable, "-c", BLOCKED + code, *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)


def raycv(*arguments: str) -> subprocess.CompletedProcess[str]:
    return without("from raycv.__main__ import main; main()", *arguments)


def test_the_extras_are_those_of_the_metadata() -> None:
    extras = PROJECT["optional-dependencies"]
    for package, extra in EXTRAS.items():
        listed = {re.split(r"[\[<>=]", one)[0] for one in extras[extra]}
        assert OF.get(package, package) in listed
        assert not any(one.startswith(OF.get(package, package)) for one in PROJECT["dependencies"])


def test_reading_needs_none_of_them(tmp_path: Path) -> None:
    uri = str(tmp_path / "run")
    write_run(RunStore(uri))
    read = f"""
import raycv
from raycv.analysis import correlation, effective_dimension, excess, linear_cka, rotated, semi_matching
run = raycv.open_run({uri!r})
print(len(run.table("alignment")), len(run.tables))
"""
    done = without(read)
    assert done.returncode == 0, done.stderr
    for command in (["status"], ["show"], ["clean"], ["export", "--to", str(tmp_path / "copy")]):
        done = raycv(*command, "--run", uri)
        assert "needs the package" not in done.stderr
        assert "Traceback" not in done.stderr


@pytest.mark.parametrize("command", ["train", "collect", "figures", "report", "plan", "run", "prune"])
def test_a_command_says_what_to_install(command: str, tmp_path: Path) -> None:
    done = raycv(command, "--run", str(tmp_path / "run"))
    assert done.returncode == 2
    assert re.fullmatch(
        r"raycv: This needs the package \w+, which is not installed; install it by: pip install 'raycv\[run\]'\.\n",
        done.stderr.replace("loading PyTorch and Ray ...\n", ""),
    )
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("code", "extra"),
    [
        ("import raycv; raycv.compare", "run"),
        ("import raycv; raycv.images(count=1)", "run"),
        ("from raycv.analysis import mutual_information", "analysis"),
        ("from raycv.analysis.spectral import spectral_clusters", "analysis"),
        ("from raycv.analysis import bipartite_matching; bipartite_matching([[1.0]])", "analysis"),
        ("from raycv.analysis import jackknife; jackknife(1.0, [1.0, 2.0])", "analysis"),
        ("import numpy as np; from raycv.analysis import rotated; rotated(np.eye(2), np.eye(2), device='cpu')", "run"),
    ],
)
def test_a_function_says_what_to_install(code: str, extra: str) -> None:
    done = without(code)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].endswith(f"pip install 'raycv[{extra}]'.")


def test_what_is_missing_for_another_reason_is_not_explained_away() -> None:
    with pytest.raises(ModuleNotFoundError, match="nowhere"), needed():
        import nowhere  # type: ignore[import-not-found]  # noqa: F401
    assert not sentence(ModuleNotFoundError("No module named 'nowhere'", name="nowhere"))


def test_analysis_imports_what_may_be_missing_where_that_is_said() -> None:
    wrong = []
    for path in (ROOT / "raycv" / "analysis").rglob("*.py"):
        tree = ast.parse(path.read_text())
        said = {
            inner
            for node in ast.walk(tree)
            if (isinstance(node, ast.With) and "needed" in ast.unparse(node.items[0]))
            or (isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING")
            for inner in ast.walk(node)
        }
        for node in ast.walk(tree):
            named = node.module if isinstance(node, ast.ImportFrom) else None
            named = node.names[0].name if isinstance(node, ast.Import) else named
            if named and named.split(".")[0] in EXTRAS and node not in said:
                wrong.append(f"{path.name}: {named}")
    assert not wrong
