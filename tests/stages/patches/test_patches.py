"""Top patches and their pictures, of a small run on a real cluster."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from raycv.cli import main
from raycv.data.preprocessing import Resize
from raycv.data.sources import open_source
from raycv.networks import checkpoints
from raycv.networks.catalogue import preprocessing_of
from raycv.networks.deconvnet import Deconvnet
from raycv.networks.models import build, load_weights
from raycv.networks.spec import NetworkSpec
from raycv.networks.stored import stored
from raycv.networks.taps import activation
from raycv.run.schema import SAMPLED
from raycv.run.store import RunStore
from raycv.stages.patches.pictures import encoded, shades

LAYERS = ("conv1", "conv3", "fc6")


@pytest.fixture(scope="module")
def run(images: Path, tmp_path_factory: pytest.TempPathFactory, ray_cluster: None) -> Path:
    folder = tmp_path_factory.mktemp("patches") / "run"
    for number in (1, 2):
        spec = NetworkSpec(
            name=f"net{number}",
            model="small-alexnet",
            classes=10,
            seed=number,
            layers=(*LAYERS, "fc8"),
            preprocessing=preprocessing_of("small-alexnet"),
            width=4,
        )
        checkpoints.save(RunStore(str(folder)), spec, build(spec).state_dict())
    for stage in (["collect", "--data", str(images), "--shard-size", "30"], ["align"], ["patches"]):
        assert main([stage[0], "--run", str(folder), *stage[1:]]) == (3 if stage == ["align"] else 0)  # untrained
    return folder


def decoded(content: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))


@pytest.mark.parametrize("layer", LAYERS)
def test_the_nine_are_those_that_sorting_finds(run: Path, images: Path, layer: str) -> None:
    top = pd.read_parquet(run / "tables/top_patches").query("layer == @layer")
    source = open_source(str(images), "validation")
    pixels, _ = source.decode(np.arange(len(source)), Resize(32))
    store = RunStore(str(run))
    for network in stored(store):
        net = load_weights(network.spec, checkpoints.weights_of(store, network))
        with torch.inference_mode():
            batch = network.spec.preprocessing.evaluation(torch.from_numpy(pixels))
            found = activation(net, layer, "fc8", batch)
        values = found.reshape(*found.shape[:2], -1).numpy()
        highest = values.max(2)
        mine = top[top["net"] == network.spec.name].sort_values(["unit", "rank"])
        assert len(mine) == 9 * values.shape[1]
        assert (mine.groupby(["unit"])["image"].nunique() == 9).all()
        for unit in range(values.shape[1]):
            rows = mine[mine["unit"] == unit]
            expected = np.sort(highest[:, unit])[::-1][:9]
            np.testing.assert_allclose(rows["value"], expected, rtol=1e-4, atol=1e-5)
            extent = int(values.shape[2] ** 0.5)
            place = (rows["row"] * extent + rows["col"]).to_numpy()
            there = values[rows["image"].to_numpy(), unit, place]
            np.testing.assert_allclose(there, rows["value"], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("layer", LAYERS)
def test_sampled_activations_are_the_highest_of_every_image(run: Path, images: Path, layer: str) -> None:
    there = pd.read_parquet(run / "tables/sampled_images").sort_values("place")
    source, store = open_source(str(images), "validation"), RunStore(str(run))
    assert len(there) == there["image"].nunique() == min(SAMPLED, len(source))
    assert there["place"].tolist() == list(range(len(there)))
    pixels, labels = source.decode(there["image"].to_numpy(), Resize(32))
    np.testing.assert_array_equal(there["label"], labels)
    assert there["picture"].iloc[0] == encoded(pixels[0])
    rows = pd.read_parquet(run / "tables/sampled_activations").astype({"layer": str}).query("layer == @layer")
    top = pd.read_parquet(run / "tables/top_patches").query("layer == @layer")
    for network in stored(store):
        net = load_weights(network.spec, checkpoints.weights_of(store, network))
        with torch.inference_mode():
            found = activation(net, layer, "fc8", network.spec.preprocessing.evaluation(torch.from_numpy(pixels)))
        highest = found.reshape(*found.shape[:2], -1).numpy().max(2)
        mine = rows[rows["net"] == network.spec.name]
        values = mine.pivot_table(index="image", columns="unit", values="value").loc[there["image"]]
        np.testing.assert_allclose(values.to_numpy(), highest, rtol=1e-4, atol=1e-5)
        # An image among the nine best of a unit has its box there, as a part of the input's 32 pixels.
        both = top[top["net"] == network.spec.name].merge(mine, on=["unit", "image"])
        assert len(both) > 9
        both = both[np.isclose(both["value_x"], both["value_y"], rtol=1e-5)]
        for edge, pixel in (("top_edge", "y0"), ("left_edge", "x0"), ("bottom_edge", "y1"), ("right_edge", "x1")):
            assert (both[edge] * 32 == both[pixel]).mean() > 0.95  # equal values at several positions are rare


def test_pictures_are_cut_and_drawn_where_the_tables_say(run: Path, images: Path) -> None:
    top = pd.read_parquet(run / "tables/top_patches")
    drawn = pd.read_parquet(run / "tables/patch_pictures").astype({"layer": str})
    both = drawn.merge(top, on=["net", "layer", "unit", "rank"], validate="one_to_one")
    assert len(both) == len(top) == len(drawn)
    assert set(both["method"]) == {"deconvnet"}
    source, store = open_source(str(images), "validation"), RunStore(str(run))
    names = store.read_json("run.json")["stages"]["patches"]["class_names"]
    assert names == (None if source.reader.class_names is None else list(source.reader.class_names))
    (network, *_) = stored(store)
    deconvnet = Deconvnet(load_weights(network.spec, checkpoints.weights_of(store, network)), "fc8")
    for layer in LAYERS:
        rows = both[(both["layer"] == layer) & (both["net"] == "net1") & (both["unit"] == 1)].sort_values("rank")
        pixels, labels = source.decode(rows["image"].to_numpy(), Resize(32))
        np.testing.assert_array_equal(rows["label"], labels)
        inputs = network.spec.preprocessing.evaluation(torch.from_numpy(pixels))
        at = [torch.tensor(rows[name].to_numpy()) for name in ("unit", "row", "col")]
        signals = deconvnet(layer, inputs, *at).permute(0, 2, 3, 1).numpy() * network.spec.preprocessing.std
        corners = rows[["y0", "x0", "y1", "x1"]].to_numpy()
        boxes = [(slice(top, bottom), slice(left, right)) for top, left, bottom, right in corners]
        expected = shades([signal[box] for signal, box in zip(signals, boxes, strict=True)])
        kept = list(rows["patch"]), list(rows["drive"])
        for patch, mine, box, image, drive in zip(*kept, boxes, pixels, expected, strict=True):
            assert patch == encoded(image[box])
            difference = np.abs(decoded(mine).astype(int) - decoded(encoded(drive)).astype(int))
            assert difference.max() <= 2  # products of batches of another size are rounded otherwise
            if max(image[box].shape) <= 24:
                np.testing.assert_array_equal(decoded(patch), image[box])


def test_shades_have_one_contrast_for_a_unit() -> None:
    strong, weak, nothing = np.full((2, 2, 3), 8.0), np.full((2, 2, 3), -2.0), np.zeros((2, 2, 3))
    found = shades([strong, weak, nothing])
    assert [int(picture[0, 0, 0]) for picture in found] == [255, 96, 128]
    assert (shades([nothing])[0] == 128).all()


def test_large_pictures_are_made_smaller() -> None:
    assert decoded(encoded(np.zeros((200, 100, 3), np.uint8))).shape == (96, 48, 3)


def test_drawing_again_does_nothing(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["patches", "--run", str(run)]) == 0
    assert "nothing to do" in capsys.readouterr().out


def test_without_statistics_it_says_what_to_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["patches", "--run", str(tmp_path / "none")]) == 2
    assert "run `raycv collect` first" in capsys.readouterr().err
