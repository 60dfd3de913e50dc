"""Layers have names for which figures have room, and the caption says what these stand for."""

from __future__ import annotations

import warnings

import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.text import Text

from raycv.drawing.short_names import LONGEST, short_names, shorten
from raycv.drawing.style import label, page, png

MODULES = st.lists(st.sampled_from(["0", "1", "12", "layer", "mlp", "attention", "conv"]), min_size=1, max_size=6)
LAYERS = st.lists(MODULES.map(".".join), min_size=1, max_size=12, unique=True)


@pytest.mark.parametrize(
    ("layers", "short"),
    [
        (["conv1", "fc8"], ["conv1", "fc8"]),
        (["layer1.0.conv2", "layer4.1.conv2"], ["layer1.0.conv2", "layer4.1.conv2"]),
        (["model.layers.0.mlp.act_fn", "model.layers.10.mlp.act_fn"], ["layers.0", "layers.10"]),
        (["model.layers.0", "model.layers.0.mlp.act_fn"], ["layers.0", "layers.…act_fn"]),
        (["bert.encoder.layer.3.output", "bert.embeddings"], ["encoder…output", "embeddings"]),
        (
            ["model.layers.0", "model.layers.0.mlp.act_fn", "model.layers.1.mlp.act_fn"],
            ["layers.0", "layers.0.mlp.act_fn", "layers.1.mlp.act_fn"],  # the same without their middle
        ),
        (["transformer.h.0.mlp.act"], ["act"]),
    ],
)
def test_what_tells_layers_apart_is_left(layers: list[str], short: list[str]) -> None:
    assert [*short_names(layers).values()] == short


@given(LAYERS)
def test_no_two_layers_have_one_name(layers: list[str]) -> None:
    names = short_names(layers)
    assert [*names] == layers
    assert len({*names.values()}) == len(layers)
    assert all(names.values())
    if max(map(len, layers)) <= LONGEST:
        assert [*names.values()] == layers


def test_a_figure_with_long_names_is_laid_out() -> None:
    layers = [f"language_model.model.layers.{number}.mlp.down_projection" for number in range(8)]
    figure = page(3.0, f"Units of {layers[0]}", f"Largest in {layers[7]}, smallest in {layers[1]}.")
    bars, table = figure.subplots(1, 2)
    bars.bar(range(8), range(8), label=layers[2])
    bars.set_xticks(range(8), layers, rotation=90)
    bars.legend()
    label(bars, f"{layers[3]}: 31%", "layer", layers[4])
    table.table([[layers[5], "0.5"]])
    shorten(figure, layers)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert png(figure)
    assert [text.get_text() for text in bars.get_xticklabels()] == [f"layers.{number}" for number in range(8)]
    shown = [text.get_text() for text in figure.findobj(Text) if isinstance(text, Text)]
    assert {"layers.2", "layers.3: 31%", "layers.4", "Units of layers.0"} <= {*shown}
    assert (
        figure.get_supxlabel().split()
        == (f"Largest in layers.7, smallest in layers.1. Names of layers are short: layers.0 is {layers[0]}.").split()
    )


def test_a_figure_without_such_names_is_as_it_was() -> None:
    figure = page(3.0, "Training", "After the last epoch.")
    figure.subplots().plot([1, 2])
    shorten(figure, ["model.layers.0.mlp.act_fn", "model.layers.1.mlp.act_fn"])
    assert figure.get_supxlabel() == "After the last epoch."
