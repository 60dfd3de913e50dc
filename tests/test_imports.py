"""What an import costs: PyTorch, Ray and the like are loaded by what computes in them, and by nothing else."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from raycv import analysis
from raycv.analysis.nulls import rotated
from raycv.analysis.similarity import correlation
from raycv.extras import EXTRAS
from raycv.run import record, tables
from raycv.run.schema import BY_NAME
from raycv.run.store import RunStore
from tests.support.runs import moments_of, specs, write_networks, write_statistics

ROOT = Path(__file__).parent.parent
HEAVY = ("torch", "torchvision", "ray", "sklearn", "matplotlib", "scipy.stats")
BLOCKED = f"""
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {set(EXTRAS)!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Absent())
"""


def python(code: str, folder: Path = ROOT) -> str:
    """What a new process that runs ``code`` in ``folder`` prints."""
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


def loaded(heavy: tuple[str, ...], code: str) -> str:
    """The list of those of ``heavy`` that ``code`` loads."""
    return python(f"import sys\n{code}\nprint([name for name in {heavy!r} if name in sys.modules])").splitlines()[-1]


def test_a_run_of_the_papers_networks_is_planned_without_pytorch(tmp_path: Path) -> None:
    for flags in ([], ["--model", "alexnet", "--width", "12", "--keep-epochs", "1"]):
        command = ["plan", "--run", str(tmp_path / "run"), *flags]
        assert loaded((*HEAVY, "numba"), f"from raycv.cli import main\nassert main({command!r}) == 0") == "[]"


def test_reading_a_run_as_the_manual_has_it_needs_no_extra(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "output.md").read_text()
    snippet = next(code for code in re.findall(r"```python\n(.*?)```", page, re.S) if "raycv.open_run" in code)
    store, layers = RunStore(str(tmp_path / "runs" / "first")), ("conv1", "conv3")
    nets = specs((5, 7), layers)
    write_networks(store, nets)
    samples = np.random.default_rng(0).standard_normal((2, 400, 12)).astype(np.float32)
    folds = {layer: [moments_of(np.split(fold, [5], axis=1)) for fold in samples] for layer in layers}
    write_statistics(store, nets, folds)
    matchings = pd.DataFrame({"layer": layers, "net_a": "net1", "net_b": "net2"})
    tables.write(store, "matchings", matchings.reindex(columns=BY_NAME["matchings"].schema.names))
    record.finish(store, "align", "1", {}, {})
    *lines, last = snippet.strip().splitlines()
    said = python(
        "\n".join([BLOCKED, *lines, f"found = ({last.partition('#')[0]})", "print(len(within), found)"]), tmp_path
    )
    a, b = np.split(samples.reshape(-1, 12), [5], axis=1)
    cross, within = correlation(a, b), correlation(b, b)
    expected = np.abs(cross).max(1).mean() - rotated(cross, within, device="cpu").mean
    units, excess = said.split()
    assert int(units) == 7
    assert float(excess) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("part", ["analysis", "statistics"])
def test_importing_what_is_computed_with_loads_nothing_heavy(part: str) -> None:
    names = sorted(
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for path in (ROOT / "raycv" / part).rglob("*.py")
        if path.name != "__init__.py"
    )
    assert loaded(HEAVY, f"for name in {names!r}: __import__(name)") == "[]"


def test_the_command_line_loads_nothing_heavy() -> None:
    assert loaded((*HEAVY, "numba", "pandas"), "from raycv.cli import main; main(['--version'])") == "[]"


def test_what_is_planned_needs_no_ray() -> None:
    code = """
from raycv.stages.registry import INTENDED, OF_RUN, loaded
for code in [INTENDED, *(code for stage in OF_RUN for code in (stage.needs, stage.traffic) if code)]:
    loaded(code)
"""
    assert loaded(("ray", "matplotlib"), code) == "[]"


def test_what_is_wrong_with_files_to_compare_is_said_before_pytorch_is_loaded(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.eye(9))
    for files in ([tmp_path / "a.npy"], [tmp_path / "a.npy", tmp_path / "none.npy"]):
        code = f"from raycv.cli import main; assert main(['compare', *{list(map(str, files))}]) == 2"
        assert loaded(("torch", "ray"), code) == "[]"


def test_the_first_comparison_draws_no_random_numbers_of_the_users() -> None:
    """Nor does importing what it needs."""
    code = """
import random
import numpy as np, torch
random.seed(0), np.random.seed(0), torch.manual_seed(0)
networks = {name: torch.nn.Sequential(torch.nn.Linear(6, 8), torch.nn.ReLU()) for name in "ab"}
batch = torch.randn(40, 6)
before = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()
import raycv
found = raycv.compare(networks, [batch])
found.matching(), repr(found)
after = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()
print(*(one == other for one, other in zip(before, after)))
"""
    assert python(code) == "True True True\n"


def test_every_name_of_analysis_is_found_where_it_says() -> None:
    tree = ast.parse(Path(analysis.__file__).read_text())
    checked = {
        alias.name: node.module
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("raycv.")
        for alias in node.names
    }
    assert {name: f"raycv.analysis.{home}" for name, home in analysis._HOMES.items()} == checked
    assert sorted(analysis.__all__) == sorted(checked)
    for name, module in checked.items():
        assert getattr(analysis, name) is vars(import_module(str(module)))[name]
        assert not (Path(analysis.__file__).parent / f"{name}.py").exists()  # a module would hide it


def test_analysis_has_no_other_names() -> None:
    with pytest.raises(AttributeError, match="no attribute 'semi_matchings'"):
        analysis.semi_matchings  # noqa: B018


@pytest.mark.parametrize("units", [1, 3, 40])
def test_numpy_and_pytorch_draw_the_same_rotations(units: int) -> None:
    samples = np.random.default_rng(units).standard_normal((300, 2 * units))
    samples[:, -1] = samples[:, 0]
    a, b = np.split(samples, 2, axis=1)
    cross, within = correlation(a, b), correlation(b, b)
    cross[0] = np.nan
    by_numpy, by_torch = (rotated(cross, within, seed=3, device=device).values for device in (None, "cpu"))
    np.testing.assert_allclose(by_numpy, by_torch, rtol=0, atol=1e-13)
