"""What a user trusts: noted for the user alone, told to workers, and nothing that a run says."""

from __future__ import annotations

import pickle
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from raycv.errors import UserError
from raycv.networks import trust
from raycv.networks.models import build
from raycv.networks.spec import NetworkSpec
from tests.support.nets import WAY

FUNCTION = "tests.support.nets:tokens"


@pytest.fixture(autouse=True)
def nobody_is_trusted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(trust, "_allowed", set())
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))


def spec() -> NetworkSpec:
    return NetworkSpec(name="net1", model=FUNCTION, classes=10, seed=1, layers=("logits",), preprocessing=WAY)


def test_a_function_is_called_for_whoever_allows_it() -> None:
    with pytest.raises(UserError, match=f"asks for {FUNCTION}, .* allow it with --trust {FUNCTION}"):
        build(spec())
    trust.allow([FUNCTION])
    build(spec())


def test_what_is_allowed_for_good_is_noted_for_the_user_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trust.remember([FUNCTION, "my.nets:build"])
    trust.remember([FUNCTION])  # again: nothing is said or written twice
    noted = tmp_path / "raycv" / "trusted"
    assert noted.read_text().splitlines()[1:] == [FUNCTION, "my.nets:build"]
    assert stat.S_IMODE(noted.stat().st_mode) == 0o600
    assert capsys.readouterr().out.count(str(noted)) == 1
    trust._allowed.clear()  # as in the next command
    assert trust.is_allowed(FUNCTION)
    noted.write_text(noted.read_text().replace(FUNCTION, ""))
    assert not trust.is_allowed(FUNCTION)


def test_a_user_without_a_place_for_it_allows_it_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "raycv").write_text("a file where a folder should be")
    trust.remember([FUNCTION])
    assert "is allowed for this command alone" in capsys.readouterr().out
    assert trust.is_allowed(FUNCTION)


@pytest.mark.parametrize(
    "given", ["build", "my.nets", "my-nets:build", "timm/hf-hub:a", "a:b:c", "../nets:build", ":b", ""]
)
def test_what_is_no_function_cannot_be_trusted(given: str) -> None:
    with pytest.raises(UserError, match="names no function; write it as package.module:function"):
        trust.remember([given])


def test_workers_obey_the_decision_of_the_process_that_sends_them_work() -> None:
    told = "import pickle, sys; from raycv.networks import trust; from raycv.networks.spec import NetworkSpec\n"
    told += f"pickle.load(sys.stdin.buffer); print(trust.is_allowed({FUNCTION!r}))"
    said = []
    for allowed in ([], [FUNCTION]):
        trust.allow(allowed)
        content = pickle.dumps(spec())
        said.append(subprocess.run([sys.executable, "-c", told], input=content, capture_output=True, check=True).stdout)
    assert said == [b"False\n", b"True\n"]
    assert pickle.loads(pickle.dumps(spec())) == spec()
