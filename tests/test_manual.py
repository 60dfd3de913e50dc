"""The manual: its site is built without a warning, and links of README lead somewhere."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import raycv
from raycv import analysis, figures

ROOT = Path(__file__).parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


def pages() -> set[Path]:
    """Those of the manual, without their endings: as they stand, and made of the notebooks."""
    written = {path.relative_to(ROOT / "docs").with_suffix("") for path in (ROOT / "docs").rglob("*.md")}
    return written | {Path("notebooks") / path.stem for path in NOTEBOOKS}


def described() -> list[str]:
    """The names that pages of the reference describe."""
    return [
        name
        for path in (ROOT / "docs" / "reference").glob("*.md")
        for name in re.findall(r"^::: (\S+)$", path.read_text(), re.MULTILINE)
    ]


def test_the_site_is_built_without_a_warning(tmp_path: Path) -> None:
    for folder in ("docs", "notebooks", "scripts"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    shutil.copy(ROOT / "mkdocs.yml", tmp_path)
    subprocess.run([sys.executable, "scripts/notebooks.py"], cwd=tmp_path, check=True)
    command = [str(Path(sys.executable).parent / "zensical"), "build", "--strict"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    made = {path.parent.relative_to(tmp_path / "site") for path in (tmp_path / "site").rglob("index.html")}
    assert {path.parent if path.name == "index" else path for path in pages()} == made
    for path in NOTEBOOKS:
        page = (tmp_path / "site" / "notebooks" / path.stem / "index.html").read_text()
        assert page.count('alt="What the cell above draws"') == path.read_text().count('"image/png": "') > 0
    reference = [page for page in made if page.parts[:1] == ("reference",)]
    shown = [(tmp_path / "site" / page / "index.html").read_text() for page in reference]
    for name in described():
        assert sum(f'id="{name}"' in text for text in shown) == 1, name


def test_links_of_readme_lead_somewhere() -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)(?:#([^)]+))?\)", (ROOT / "README.md").read_text())
    assert links
    for path, anchor in links:
        target = ROOT / path
        assert target.exists(), path
        heads = re.findall(r"^#+ (.+)$", target.read_text(), re.MULTILINE) if target.suffix == ".md" else []
        assert not anchor or anchor in {re.sub(r"[^\w -]", "", head.lower()).replace(" ", "-") for head in heads}


def test_every_page_is_in_the_table_of_contents() -> None:
    named = re.findall(r"([\w/]+)\.md", (ROOT / "mkdocs.yml").read_text())
    assert {Path(name) for name in named} == pages()


def test_every_public_name_is_in_the_reference_once() -> None:
    names = [f"raycv.{name}" for name in raycv.__all__ if name != "__version__"]
    names += [f"raycv.figures.{name}" for name in figures.__all__]
    names += [f"raycv.analysis.{name}" for name in analysis.__all__]
    named_as_their_modules = [name for name in described() if name.count(".") > 2]
    assert sorted(described()) == sorted(names + named_as_their_modules)
    assert all(len(set(name.split(".")[2:])) == 1 for name in named_as_their_modules)


def test_the_report_explains_its_words_as_the_glossary_does() -> None:
    glossary = dict(re.findall(r"^\| ([^|]+?) \| ([^|]+?) \|$", (ROOT / "docs/glossary.md").read_text(), re.MULTILINE))
    page = (ROOT / "raycv/stages/report/page/page.html").read_text()
    words = re.findall(r"<dt>([^<]+)</dt><dd>(.*?)</dd>", page, re.DOTALL)
    assert len(words) > 10
    for word, meaning in words:
        said = " ".join(re.sub(r"<[^>]+>", "", meaning).split())
        assert said == glossary[word.lower()].replace("*", "").replace("`", ""), word
