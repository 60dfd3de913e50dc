"""Networks of a run merged: every number is what a loop of this test finds with the weights that were written."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import safetensors.torch
import torch
import torch.nn.functional as F
from torch import Tensor

from raycv.cli import main
from raycv.data.sources import open_source
from raycv.networks.models import build
from raycv.networks.spec import NetworkSpec
from raycv.run import tables
from raycv.run.names import is_ours
from raycv.run.store import RunStore
from tests.support.commands import failing
from tests.support.here import work_here
from tests.support.runs import spec

ALPHAS = (0.0, 0.3, 0.5, 1.0)


@pytest.fixture(scope="module", autouse=True)
def without_ray() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        work_here(patch)
        threads = torch.get_num_threads()
        torch.set_num_threads(1)  # as the actors do
        yield
        torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def merges(aligned_run: RunStore, without_ray: None) -> pd.DataFrame:
    alphas = ",".join(map(str, ALPHAS))
    assert main(["merge", "--run", aligned_run.uri, "--alphas", alphas]) == 0
    return tables.read(aligned_run, "merges")


@pytest.fixture(scope="module")
def validation(images: Path) -> tuple[Tensor, Tensor, NetworkSpec]:
    described = spec(1, 4, ("conv3", "fc7", "fc8"))
    source = open_source(str(images), "validation")
    pixels, labels = source.decode(np.arange(len(source)), described.preprocessing.resizing)
    return described.preprocessing.evaluation(torch.from_numpy(pixels)), torch.from_numpy(labels), described


def weights_in(store: RunStore, folder: str) -> dict[str, Tensor]:
    found: dict[str, Tensor] = safetensors.torch.load_file(f"{store.uri}/{folder}/weights.safetensors")
    return found


def scored(weights: dict[str, Tensor], validation: tuple[Tensor, Tensor, NetworkSpec]) -> tuple[float, float]:
    """Loss and top-1, image by image."""
    inputs, labels, described = validation
    net = build(described)
    net.load_state_dict(weights)
    with torch.inference_mode():
        logits = torch.cat([net(image[None]) for image in inputs])
    return float(F.cross_entropy(logits, labels)), float((logits.argmax(1) == labels).float().mean())


def test_a_permuted_copy_merges_without_a_barrier(merges: pd.DataFrame) -> None:
    copies = merges.query("nets == 'net1-net2'")
    ways = copies.query("method in ('permuted', 'repaired', 'repaired_closed')")
    assert len(ways) == 3 * len(ALPHAS)
    assert ways["loss_excess"].abs().max() < 1e-5
    assert ways["barrier"].abs().max() < 1e-5
    assert copies.query("method == 'naive' and alpha == 0.5")["loss_excess"].abs().item() > 1e-4


@pytest.mark.parametrize("nets", ["net1-net3", "net1-net2-net3"])
def test_rows_are_what_the_written_networks_give(
    aligned_run: RunStore, merges: pd.DataFrame, validation: tuple[Tensor, Tensor, NetworkSpec], nets: str
) -> None:
    kept = merges[(merges["nets"] == nets) & (merges["network"] != "")]
    assert len(kept) == (4 if nets.count("-") == 2 else 4 + 2 + 1)
    for row in kept.itertuples():
        loss, top1 = scored(weights_in(aligned_run, str(row.network)), validation)
        assert row.loss == pytest.approx(loss, abs=1e-5)
        assert row.top1 == pytest.approx(top1, abs=1e-6)


def test_barriers_follow_from_the_two_networks_that_were_written(
    aligned_run: RunStore, merges: pd.DataFrame, validation: tuple[Tensor, Tensor, NetworkSpec]
) -> None:
    first = weights_in(aligned_run, "networks/net1")
    ends = {"naive": "networks/net3", "permuted": "merges/net1-net3/correlation/second"}
    own = [scored(weights_in(aligned_run, f"networks/{net}"), validation)[0] for net in ("net1", "net3")]
    for method, folder in ends.items():
        second = weights_in(aligned_run, folder)
        excess = []
        for alpha in ALPHAS:
            between = {name: (1 - alpha) * first[name] + alpha * second[name] for name in first}
            excess.append(scored(between, validation)[0] - (1 - alpha) * own[0] - alpha * own[1])
        rows = merges.query(f"nets == 'net1-net3' and matching == 'correlation' and method == '{method}'")
        np.testing.assert_allclose(rows.sort_values("alpha")["loss_excess"], excess, atol=1e-5)
        np.testing.assert_allclose(rows["barrier"], max(excess), atol=1e-5)


def test_three_networks_are_the_mean_of_them_permuted_to_the_first(aligned_run: RunStore, merges: pd.DataFrame) -> None:
    where = "merges/net1-net2-net3/correlation/permuted"
    together = weights_in(aligned_run, where)
    parts = [weights_in(aligned_run, "networks/net1")]
    parts += [weights_in(aligned_run, f"merges/net1-{net}/correlation/second") for net in ("net2", "net3")]
    for name, value in together.items():
        torch.testing.assert_close(value, sum(part[name] for part in parts) / 3, rtol=1e-5, atol=1e-6)
    said = json.loads(aligned_run.read(f"{where}/network.json"))
    assert said["merged"]["nets"] == "net1-net2-net3"
    assert merges.query("nets == 'net1-net2-net3'")["alpha"].isna().all()
    assert all(map(is_ours, aligned_run.sizes()))
    assert not aligned_run.list("parts")


def test_a_merged_network_is_a_network_of_another_run(
    aligned_run: RunStore, merges: pd.DataFrame, images: Path, tmp_path: Path
) -> None:
    folder = f"{aligned_run.uri}/merges/net1-net3/correlation"
    given = ",".join(f"{folder}/{way}/weights.safetensors" for way in ("repaired", "zipped_repaired"))
    other = RunStore(str(tmp_path / "other"))
    asked = ["--checkpoints", given, "--width", "4", "--layers", "conv3,fc7", "--data", str(images)]
    assert main(["train", "--run", other.uri, *asked]) == 0
    torch.testing.assert_close(
        weights_in(other, "networks/net1"), weights_in(aligned_run, "merges/net1-net3/correlation/repaired")
    )


def test_what_was_merged_already_is_not_merged_again(
    aligned_run: RunStore, merges: pd.DataFrame, capfd: pytest.CaptureFixture[str]
) -> None:
    before = aligned_run.read("tables/merges/merges.parquet")
    assert main(["merge", "--run", aligned_run.uri]) == 0  # with the settings that the run remembers
    assert "already finished" in capfd.readouterr().out
    assert aligned_run.read("tables/merges/merges.parquet") == before
    assert not aligned_run.list("parts")


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (["--pairs", "net1-net9"], "--pairs was given 'net1-net9', which does not name two or more different networks"),
        (["--pairs", "net1-net1"], "--pairs was given 'net1-net1'"),
        (["--up-to", "conv9"], "--up-to was given 'conv9', and the layers that were compared are conv3, fc7"),
        (["--up-to", "fc8"], "--up-to was given 'fc8'"),
    ],
)
def test_what_cannot_be_merged_is_refused(
    aligned_run: RunStore, given: list[str], sentence: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert sentence in failing(capfd, "merge", "--run", aligned_run.uri, *given)


def test_a_shared_trunk_has_two_heads(
    aligned_run: RunStore, merges: pd.DataFrame, validation: tuple[Tensor, Tensor, NetworkSpec]
) -> None:
    asked = ["--pairs", "net1-net2,net1-net3", "--alphas", "0.5", "--matching", "correlation", "--up-to", "conv3"]
    assert main(["merge", "--run", aligned_run.uri, *asked]) == 0
    rows = tables.read(aligned_run, "merges")
    assert set(zip(rows["nets"], rows["head"], strict=True)) == {
        ("net1-net2", "net1"), ("net1-net2", "net2"), ("net1-net3", "net1"), ("net1-net3", "net3")
    }  # fmt: skip
    heads = [weights_in(aligned_run, f"merges/net1-net3/correlation/permuted-{net}") for net in ("net1", "net3")]
    kernels = [name for name in heads[0] if name.endswith("weight")]  # all biases are 0 before training
    shared = {name for name in kernels if torch.equal(heads[0][name], heads[1][name])}
    assert shared == {f"conv{n}.0.weight" for n in (1, 2, 3)}
    copies = rows.query("nets == 'net1-net2' and method in ('permuted', 'repaired', 'repaired_closed')")
    assert copies["loss_excess"].abs().max() < 1e-5
    for row in rows.query("nets == 'net1-net3'").itertuples():
        assert row.loss == pytest.approx(scored(weights_in(aligned_run, str(row.network)), validation)[0], abs=1e-5)
