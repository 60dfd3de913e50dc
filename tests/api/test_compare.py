"""`raycv.compare` on networks and recordings of which it is known what they share."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import torchvision
from safetensors.torch import save_file
from sklearn.linear_model import Lasso
from torch import Tensor, nn

import raycv
from raycv.analysis.arrays import Floats
from raycv.errors import UserError
from tests.support.copies import orthonormal, z_scores

UNITS, IMAGES = 40, 64
ROOT = Path(__file__).parents[2]


class Small(nn.Module):
    """Two convolutions of different grids and a linear map."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.first = nn.Sequential(nn.Conv2d(3, 24, 3, padding=1), nn.ReLU())
        self.second = nn.Sequential(nn.Conv2d(24, UNITS, 3, stride=2, padding=1), nn.ReLU())
        self.last = nn.Linear(UNITS, 20)
        self.passes = 0

    def forward(self, x: Tensor) -> Tensor:
        self.passes += 1
        found: Tensor = self.last(self.second(self.first(x)).mean((2, 3)))
        return found


def permuted(net: Small, order: Tensor) -> Small:
    """A copy that computes the same with the units of its second layer in another order."""
    copy = Small(0)
    copy.load_state_dict(net.state_dict())
    with torch.no_grad():
        conv = copy.second.get_submodule("0")
        assert isinstance(conv, nn.Conv2d)
        conv.weight.copy_(conv.weight[order])
        assert conv.bias is not None
        conv.bias.copy_(conv.bias[order])
        copy.last.weight.copy_(copy.last.weight[:, order])
    return copy


def batches(size: int = 16) -> list[Tensor]:
    generator = torch.Generator().manual_seed(7)
    return [torch.randn(IMAGES // 4, 3, size, size, generator=generator) for _ in range(4)]


def test_a_permuted_copy_is_found_and_each_network_runs_once_a_batch() -> None:
    net, order = Small(1), torch.randperm(UNITS, generator=torch.Generator().manual_seed(2))
    other = permuted(net, order)
    found = raycv.compare({"a": net, "b": other}, batches(), layers=["second", "first"])
    assert [str(member) for member in found.members] == ["a/first", "b/first", "a/second", "b/second"]
    assert net.passes == 4
    for method in ("semi", "bipartite"):
        rows = found.matching(method).query("net_a == 'b' and layer == 'second'")
        live = rows["unit_b"] >= 0
        np.testing.assert_array_equal(rows["unit_b"][live], order.numpy()[live])
        np.testing.assert_allclose(rows["value"][live], 1, atol=1e-5)
    assert (found.alignment().query("layer == 'second'")["beyond_chance"] > 0.9).all()


def test_correlations_equal_numpy() -> None:
    nets = {"a": Small(1), "b": Small(2)}
    found = raycv.compare(nets, [(batch, 0) for batch in batches()], layers=["second"])
    with torch.inference_mode():
        x, y = (
            torch.cat([net.second(net.first(batch)) for batch in batches()]).movedim(1, 3).flatten(0, 2).double()
            for net in nets.values()
        )
    live = [values.numpy().std(0) > 0 for values in (x, y)]
    with np.errstate(invalid="ignore", divide="ignore"):
        expected = np.corrcoef(x, y, rowvar=False)[:UNITS, UNITS:]
    got = found.correlation("second", "a", "b")
    takes_part = ~np.isnan(got)
    np.testing.assert_allclose(got[takes_part], expected[takes_part], atol=5e-6)
    assert takes_part.sum() > 0.5 * np.outer(*live).sum()


def test_all_layers_against_all_find_the_permuted_layer_and_the_layer_of_the_same_name() -> None:
    net = Small(1)
    other = permuted(net, torch.randperm(UNITS, generator=torch.Generator().manual_seed(2)))
    found = raycv.compare(
        {"a": net, "b": other}, batches(), layers=["first", "second"], compare="all", positions="mean"
    )
    nearest = found.nearest_layers()
    assert (nearest["layer_a"] == nearest["layer_b"]).all()
    assert len(nearest) == 4
    identified = found.layer_identification("mean_absolute")
    assert identified[["layers", "accuracy"]].to_numpy().tolist() == [[2, 1.0]] * 2
    pairs = found.alignment(["mean"])[["net_a", "layer_a", "net_b", "layer_b"]]
    assert len(pairs) == 2 * 2 * 2
    assert not (pairs["net_a"] == pairs["net_b"]).any()


def test_mutual_partners_are_found_by_brute_force() -> None:
    rng = np.random.default_rng(0)
    x, mixing = rng.standard_normal((500, 8)), rng.standard_normal((8, 9))
    nets = {
        "a": {"first": x @ mixing, "second": x[:, :3], "dead": np.zeros((500, 2))},
        "b": {"first": x[:, 2:] + rng.standard_normal((500, 6)), "last": x @ rng.standard_normal((8, 5))},
        "c": {"only": x[:, ::-1]},
    }
    pairs = raycv.compare(nets, compare="all").mutual_partners()
    names = {
        net: [(layer, unit) for layer in layers for unit in range(layers[layer].shape[1])]
        for net, layers in nets.items()
    }
    live = {
        net: np.hstack([values for layer, values in layers.items() if layer != "dead"]) for net, layers in nets.items()
    }
    for a, b in (("a", "b"), ("a", "c"), ("b", "c")):
        between = np.corrcoef(live[a], live[b], rowvar=False)[: live[a].shape[1], live[a].shape[1] :]
        expected = [
            (*names[a][i], *names[b][j]) for i, j in enumerate(between.argmax(1)) if between[:, j].argmax() == i
        ]
        got = pairs.query("net_a == @a and net_b == @b")
        assert list(got[["layer_a", "unit_a", "layer_b", "unit_b"]].itertuples(index=False, name=None)) == expected
        assert len(expected) > 2
    assert len(pairs.query("net_a > net_b")) == 0


def test_a_column_of_the_alignment_is_the_same_alone() -> None:
    x, y = recordings()
    found = raycv.compare({"a": x[:400], "b": y[:400]})
    whole = found.alignment()
    for column in whole.columns[3:]:
        pd.testing.assert_series_equal(found.alignment([column])[column], whole[column])
    with pytest.raises(UserError, match="There is no column 'cka'; allowed are mean, .*, unbiased_cka"):
        found.nearest_layers("cka")


def test_a_layer_without_live_units_has_no_nearest_layer() -> None:
    found = raycv.compare({"a": {"x": X, "dead": np.zeros((30, 3))}, "b": {"x": X}}, compare="all")
    assert found.nearest_layers()[["layer_a", "layer_b"]].to_numpy().tolist() == [["x", "x"], ["x", "x"]]


def test_no_namesake_no_identification() -> None:
    found = raycv.compare({"a": {"x": X}, "b": {"y": X}}, compare="all")
    with pytest.raises(UserError, match="No layer has the same name in two networks"):
        found.layer_identification()


def vit() -> nn.Module:
    torch.manual_seed(0)
    net: nn.Module = torchvision.models.VisionTransformer(16, 4, 2, 2, 24, 48, num_classes=5)
    return net


def test_class_tokens_and_patches_are_chosen_by_name() -> None:
    block = "encoder.layers.encoder_layer_1"
    net, wanted = vit(), {"a": [f"{block}:class", f"{block}:patches", block], "b": ["second"]}
    other = Small(1)
    with pytest.raises(UserError, match=f"a/{block}:class none, a/{block}:patches 4 x 4, .* b/second 8 x 8; "):
        raycv.compare({"a": net, "b": other}, batches(), layers=wanted, compare="all", positions="resample")
    found = raycv.compare({"a": net, "b": other}, batches(), layers=wanted, compare="all", positions="mean")
    names = [str(member) for member in found.members if member.net == "a"]
    assert names == [f"a/{block}:class", f"a/{block}:patches", f"a/{block}"]
    means = found.units().query("net == 'a'").groupby("layer")["mean"].apply(np.array)
    np.testing.assert_allclose(means[block], (means[f"{block}:class"] + 16 * means[f"{block}:patches"]) / 17, atol=1e-5)
    with pytest.raises(UserError, match="'second' gives activations of shape"):
        raycv.compare({"a": net, "b": other}, batches(), layers={"b": ["second:class"]})


def test_patches_are_resampled_to_a_convolutions_grid_where_they_lie_in_the_image() -> None:
    net = vit()
    with torch.no_grad():  # then the tokens that the transformer takes are what the convolution gives
        net.get_submodule("encoder").get_parameter("pos_embedding").zero_()
    pairs = [("encoder.dropout", "conv_proj")]
    found = raycv.compare({"tokens": net, "grid": net}, batches(), compare=pairs, positions="resample")
    assert found.samples == IMAGES * 16
    same = np.diagonal(found.correlation(("encoder.dropout", "conv_proj"), "tokens", "grid"))
    np.testing.assert_allclose(same, 1, atol=1e-6)
    recording = {"x": np.random.default_rng(0).standard_normal((IMAGES, 6, 17)).astype(np.float32)}
    square = {"x": recording["x"][:, ::-1, 1:].reshape(IMAGES, 6, 4, 4).repeat(2, 2).repeat(2, 3)}
    found = raycv.compare({"a": recording, "b": square}, positions="resample")
    np.testing.assert_allclose(np.diagonal(found.correlation("x", "a", "b")[:, ::-1]), 1, atol=1e-6)


def test_grids_are_resampled_by_area_or_refused() -> None:
    nets = {"a": Small(1), "b": Small(2)}
    with pytest.raises(UserError, match='a/first 16 x 16, b/second 8 x 8; compare them with positions="resample"'):
        raycv.compare(nets, batches(), compare=[("first", "second")])
    found = raycv.compare(nets, batches(), compare=[("first", "second")], positions="resample")
    assert found.samples == IMAGES * 64
    with torch.inference_mode():
        x = torch.cat([nn.functional.avg_pool2d(nets["a"].first(batch), 2) for batch in batches()])
    means = found.units().query("net == 'a'")["mean"]
    np.testing.assert_allclose(means, x.mean((0, 2, 3)), rtol=1e-5)


def recordings() -> tuple[Floats, Floats]:
    """Two networks: half of the units of one are in the other, the other half rotated."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((3000, UNITS))
    y = x + 0.2 * rng.standard_normal(x.shape)
    half = UNITS // 2
    y[:, half:] = y[:, half:] @ orthonormal(UNITS - half, rng)
    return x, y[:, ::-1]


def written(folder: Path, name: str, kind: str, values: Floats, ids: np.ndarray) -> Path:
    path = folder / f"{name}.{kind}"
    if kind == "npy":
        np.save(path, values)
        np.save(folder / f"{name}.ids.npy", ids)
    elif kind == "npz":
        np.savez(path, activations=values, ids=ids)
    elif kind == "safetensors":
        save_file({"activations": torch.from_numpy(values.copy()), "ids": torch.from_numpy(ids)}, path)
    else:
        pd.DataFrame({"activations": list(values), "ids": ids}).to_parquet(path)
    return path


@pytest.mark.parametrize("kind", ["npy", "npz", "safetensors", "parquet"])
def test_recordings_in_another_order_are_paired_by_their_ids(tmp_path: Path, kind: str) -> None:
    x, y = recordings()
    shuffled = np.random.default_rng(1).permutation(3000)
    first = written(tmp_path, "a", "npz", x, np.arange(3000) + 5)
    second = written(tmp_path, "b", kind, y[shuffled], shuffled + 5)
    found = raycv.compare({"a": first, "b": str(second)})
    expected = np.corrcoef(x, y, rowvar=False)[:UNITS, UNITS:]
    np.testing.assert_allclose(found.correlation("activations", "a", "b"), expected, atol=1e-9)
    rows = found.matching().query("net_a == 'a'")
    copied = rows["unit_a"] < UNITS // 2
    np.testing.assert_array_equal(rows["unit_b"][copied], UNITS - 1 - np.arange(UNITS // 2))
    assert (rows["q_value"][copied] < 0.05).all()
    assert (rows["q_value"][~copied] < 0.05).mean() < 0.3
    order = np.arange(3000)
    lacking = written(tmp_path, "c", kind, y[:-1], order[1:] + 5)
    with pytest.raises(UserError, match="c lacks 1 of the samples of a, the first being"):
        raycv.compare({"a": first, "c": lacking})


def test_the_partner_that_is_shown_is_the_one_that_is_tested() -> None:
    rng = np.random.default_rng(3)
    x = rng.standard_normal((2000, 30))
    y = -x[:, ::-1] + 0.3 * rng.standard_normal(x.shape)  # every partner is a negative one
    y[:, 0] = x[:, 5] + 0.5 * rng.standard_normal(2000)
    found, cross = raycv.compare({"a": x, "b": y}), np.corrcoef(x, y, rowvar=False)[:30, 30:]
    for method in ("semi", "bipartite"):
        rows = found.matching(method).query("net_a == 'a'")
        np.testing.assert_allclose(rows["value"], cross[np.arange(30), rows["unit_b"]], atol=1e-9)
        np.testing.assert_array_equal(rows["sign"], np.sign(rows["value"]))
    rows = found.matching().query("net_a == 'a'")
    np.testing.assert_array_equal(rows["unit_b"], np.abs(cross).argmax(1))
    np.testing.assert_allclose(rows["excess"] + rows["rotated_value"], np.abs(cross).max(1), atol=1e-9)
    signed = found.matching(signed=True).query("net_a == 'a'")
    np.testing.assert_array_equal(signed["unit_b"], cross.argmax(1))
    assert "p_value" not in signed


def test_mappings_equal_sklearns_lasso_and_clusters_hold_the_copies_together() -> None:
    x, y = recordings()
    found = raycv.compare({"a": x, "b": y})
    decay = 1e-3
    row = found.mapping([decay]).query("source_net == 'a'").iloc[0]
    model = Lasso(alpha=decay * UNITS, fit_intercept=False, tol=1e-8).fit(z_scores(x), z_scores(y))
    assert row["loss"] == pytest.approx(((model.predict(z_scores(x)) - z_scores(y)) ** 2).mean() / 2, abs=1e-5)
    members = found.clusters(k=25).pivot(index="unit", columns="net", values="cluster")
    same = members["a"].to_numpy()[: UNITS // 2] == members["b"].to_numpy()[::-1][: UNITS // 2]
    assert same.all()
    assert set(found.table("cluster_members").columns) == {*found.clusters().columns}


def test_a_network_against_its_recording() -> None:
    net = Small(1)
    with torch.inference_mode():
        outputs = torch.cat([net(batch) for batch in batches()]).numpy()
    given: dict[str, Any] = {"net": net, "file": {"last": outputs}}
    found = raycv.compare(given, batches(), layers={"net": ["last"]})
    np.testing.assert_allclose(np.diagonal(found.correlation("last", "net", "file")), 1, atol=1e-6)
    shorter = given | {"file": {"last": outputs[:60]}}
    with pytest.raises(UserError, match="file has 60 samples and data has more"):
        raycv.compare(shorter, iter(batches()), layers={"net": ["last"]})
    with pytest.raises(UserError, match="file has 64 samples and data 48"):
        raycv.compare(given, iter(batches()[:3]), layers={"net": ["last"]})
    passes = net.passes
    loader: Any = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(torch.cat(batches())), 10)
    for data, samples in ((batches()[:3], 48), (loader, 64)):  # whose length is known
        with pytest.raises(UserError, match=f"file has 60 samples and data {samples}"):
            raycv.compare(shorter, data, layers={"net": ["last"]})
    assert net.passes == passes


NETS = {"a": Small(1), "b": Small(2)}
X = np.random.default_rng(0).standard_normal((30, 4))
IDS = [f"image {n}" for n in range(30)]


@pytest.mark.parametrize(
    ("networks", "settings", "message"),
    [
        ({"a": X}, {}, "needs two or more networks; found 1"),
        (NETS, {}, "The network a needs data"),
        ({"a": X, "b": X}, {"data": [X]}, "no network to pass data through"),
        (NETS, {"data": []}, "data gave no batch"),
        (NETS, {"data": batches(), "layers": ["frist"]}, "a has no layer 'frist'; the nearest are first"),
        ({"a": {"x": X}, "b": {"y": X}}, {}, "no layer of the same name: a has x; b has y"),
        ({"a": X, "b": X}, {"compare": ["activations"]}, "must name one layer for each of the networks a, b"),
        ({"a": X, "b": X}, {"compare": [("activations", "z")]}, "b has no layer 'z'; its layers are activations"),
        ({"a": X, "b": X[1:]}, {}, "a has 30 samples and b 29; record the same ones, or give ids"),
        (
            {"a": X, "b": {"x": X, "ids": np.arange(30)}},
            {"compare": [("activations", "x")]},
            "b has ids and a has none",
        ),
        (
            {"a": {"x": X, "ids": np.arange(30).astype(str)}, "b": {"x": X, "ids": np.arange(30)}},
            {},
            "The ids of a are text and those of b numbers",
        ),
        (
            {"a": {"x": X, "ids": IDS}, "b": {"x": X[:-2], "ids": IDS[2:]}},
            {},
            "b lacks 2 of the samples of a, the first being 'image 0'; record the same samples",
        ),
        ({"a": X, "b": {"x": X, "ids": np.zeros(30)}}, {}, "ids of b do not name its 30 samples"),
        ({"a": X, "b": {"x": X, "y": X[1:]}}, {}, "layers of b have different numbers of samples"),
        ({"a": X, "b": X[0]}, {}, r"have shape \(4,\); they must be \(samples, units\)"),
        ({"a": X, "b": "nowhere.npy"}, {}, "There is no file nowhere.npy, given for b"),
        (NETS, {"data": [{"x": X, "y": X}]}, "A batch of data has 'x', 'y', of which 2 may be what a network takes"),
        (
            {"a": X, "b": X},
            {"layers": {"b": ["activation"]}},
            "b has no layer 'activation'; the nearest are activations",
        ),
        (
            {"a": X, "b": np.where(X > 1.5, np.nan, X)},
            {},
            "of 'b/activations' are not all finite numbers, first in sample",
        ),
        ({"a": X[:1], "b": X[:1]}, {}, "a correlation needs two samples or more"),
        ({"a": X, "b": {"x": X.astype(complex)}}, {}, "'x' of b are of type complex128; they must be numbers"),
        ({"a": X, "b": "x.csv"}, {}, "x.csv, given for b, is of no known kind; allowed are .npy"),
    ],
)
def test_mistakes_are_one_sentence(networks: dict[str, Any], settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message) as refused:
        raycv.compare(networks, **settings)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("kind", ["npy", "npz", "safetensors", "parquet"])
def test_a_damaged_file_is_refused(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"x.{kind}"
    path.write_bytes(b"not activations")
    with pytest.raises(UserError, match=f"x.{kind}(, given for b,)? cannot be read as .{kind}"):
        raycv.compare({"a": X, "b": path})


def example(page: str) -> dict[str, Any]:
    """What the example of `raycv.compare` on a page leaves."""
    parts = re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(), re.S)
    (code,) = [part for part in parts if "raycv.compare" in part]
    names: dict[str, Any] = {}
    exec(code, names)
    return names


def test_what_the_readme_shows_is_so(capsys: pytest.CaptureFixture[str]) -> None:
    found = example("README.md")["found"].alignment(["excess"])
    head, *rows = capsys.readouterr().out.splitlines()
    assert head in (ROOT / "README.md").read_text()
    assert len(rows) == 4
    assert (found["excess"] > 1.3 * found["control_excess"]).all()


def test_what_the_manual_shows_runs() -> None:
    nearest = example("docs/own_networks.md")["found"].nearest_layers()
    assert set(nearest.query("net_a == 'resnet'")["layer_a"]) == {"layer1", "layer2"}
    assert nearest["unbiased_cka"].between(-0.1, 1).all()
