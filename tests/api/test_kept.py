"""All layers against all: from the samples or from products, the same; and what does not fit is said at once."""

from __future__ import annotations

import re

import numpy as np
import pytest

import raycv
from raycv.analysis.arrays import Floats
from raycv.analysis.measures.alignment import NormProducts, cross_fold_cka, debiased_cka, linear_cka
from raycv.analysis.measures.covariances import Covariances
from raycv.api.collected import Collected
from raycv.api.group import Group
from raycv.api.kept import KeptMembers, KeptProducts
from raycv.api.kept_rows import KeptRows
from raycv.api.members import Member
from raycv.api.moments import Moments
from raycv.api.tables import fold_of_each
from raycv.errors import UserError
from raycv.statistics.moments import covariance, gram_bytes

MEMBERS = [Member("a", "one"), Member("a", "two"), Member("b", "one"), Member("c", "only")]
WIDTHS = (9, 1, 70, 3)


def layers(samples: int, positions: int = 1) -> list[Floats]:
    """(samples, S, positions): rectified, with a dead unit and one of large mean."""
    rng = np.random.default_rng(samples)
    made = [np.maximum(rng.standard_normal((samples, width, positions)) - 0.3, 0) for width in WIDTHS]
    made[0][:, 2], made[2][:, 5] = 3, made[2][:, 5] + 1e4
    return made


def both(made: list[Floats]) -> tuple[KeptMembers, KeptMembers]:
    """The same samples as they are, and as products."""
    collected, moments = Collected(), Moments()
    given = {str(member): layer for member, layer in zip(MEMBERS, made, strict=True)}
    for start in range(0, len(made[0]), 25):
        batch = {name: layer[start : start + 25] for name, layer in given.items()}
        collected.update(None, batch)
        moments.update(None, **batch)
    kept = collected.kept()
    assert isinstance(kept, KeptRows)
    return kept, KeptProducts(moments.statistics, None)


@pytest.mark.parametrize("positions", [1, 4])
def test_samples_and_products_say_the_same(positions: int) -> None:
    rows, products = both(layers(100, positions))
    one, other = (Group(MEMBERS, kept, None, {}, False) for kept in (rows, products))
    np.testing.assert_array_equal(one.left_out, other.left_out)
    np.testing.assert_allclose(one.linear_cka, other.linear_cka, atol=1e-9)
    if positions > 1:
        np.testing.assert_allclose(one.unbiased_cka, other.unbiased_cka, atol=1e-9)
    for a, b in [*one.pairs, (2, 2), (0, 1)]:
        for found, expected in zip(
            one.correlations(a, b, halves=True), other.correlations(a, b, halves=True), strict=True
        ):
            np.testing.assert_allclose(np.array(found), np.array(expected), atol=1e-7)
        by_fold = zip(one.folds(a, b).folds, other.folds(a, b).folds, strict=True)
        for of_rows, of_products in by_fold:
            np.testing.assert_allclose(covariance(of_rows, 0, 1), covariance(of_products, 0, 1), atol=1e-7)


def test_cka_is_that_of_its_definition() -> None:
    made = [layer[..., 0] for layer in layers(60)]
    rows, _ = both([layer[..., None] for layer in made])
    group = Group(MEMBERS, rows, None, {}, False)
    centred = [layer - layer.mean(0) for layer in made]
    for a, b in group.pairs:
        x, y = centred[a], centred[b]
        of_pair = Covariances.of(x.T @ x / 60, x.T @ y / 60, y.T @ y / 60)
        norms = [(one**2).sum(1) for one in (x, y)]
        products = NormProducts(float(norms[0] @ norms[0]), float(norms[0] @ norms[1]), float(norms[1] @ norms[1]))
        assert group.linear_cka[a, b] == pytest.approx(linear_cka(of_pair), abs=1e-9)
        assert group.unbiased_cka[a, b] == pytest.approx(debiased_cka(of_pair, 60, products), abs=1e-9)
    assert np.isnan(group.linear_cka[0, 1])  # of one network


def test_cka_of_positions_is_that_across_folds() -> None:
    made = layers(80, 3)
    rows, _ = both(made)
    group = Group(MEMBERS, rows, None, {}, False)
    folds = fold_of_each(None, 80, 0)
    parts = [[np.moveaxis(layer[folds == n], 1, 2).reshape(-1, layer.shape[1]) for layer in made] for n in range(8)]
    for a, b in group.pairs:
        each = []
        for part in parts:
            x, y = (part[n] - part[n].mean(0) for n in (a, b))
            each.append(Covariances(*(p.T @ q / (len(x) - 1) for p, q in ((x, x), (x, y), (y, y)))))
        assert group.unbiased_cka[a, b] == pytest.approx(cross_fold_cka(each), abs=1e-9)


def test_products_are_kept_where_they_take_less_memory_and_say_the_same() -> None:
    made = [layer[..., 0].astype(np.float32) for layer in layers(6000)]
    assert sum(layer.nbytes for layer in made) > 8 * gram_bytes(WIDTHS)
    nets = {"a": {"one": made[0], "two": made[1]}, "b": {"one": made[2]}, "c": {"only": made[3]}}
    found = raycv.compare(nets, compare="all")
    assert isinstance(found._groups[0].kept, KeptProducts)
    table = found.alignment(["linear_cka", "unbiased_cka"]).set_index(["net_a", "layer_a", "net_b", "layer_b"])
    x, y = (made[n].astype(np.float64) - made[n].mean(0, dtype=np.float64) for n in (0, 2))
    of_pair = Covariances.of(x.T @ x, x.T @ y, y.T @ y)
    assert table.loc[("b", "one", "a", "one"), "linear_cka"] == pytest.approx(linear_cka(of_pair), abs=5e-6)
    assert table["unbiased_cka"].abs().max() < 0.05
    assert len(table) == 2 * (2 + 2 + 1)


def test_results_of_two_layers_do_not_depend_on_what_else_is_compared() -> None:
    rng = np.random.default_rng(0)
    x = np.maximum(rng.standard_normal((300, 20)), 0)
    y, z = np.maximum(x[:, ::-1] + rng.standard_normal(x.shape), 0), np.abs(rng.standard_normal((300, 31)))
    alone = raycv.compare({"a": {"x": x}, "b": {"y": y}}, compare="all").matching()
    among = raycv.compare(
        {"a": {"z": z, "x": x}, "c": {"z": z}, "b": {"z": z[:, :7], "y": y}}, compare="all"
    ).matching()
    same = among.query("layer_a in ['x', 'y'] and layer_b in ['x', 'y']").sort_values(["net_a", "unit_a"])
    for column in ("unit_b", "value", "excess", "p_value", "partner_stability"):
        np.testing.assert_allclose(same[column], alone[column], atol=1e-9)


def of_widths(samples: int) -> dict[str, dict[str, Floats]]:
    rng = np.random.default_rng(1)
    return {
        net: {layer: rng.standard_normal((samples, width)) for layer, width in (("p", 1), ("q", 5))} for net in "ab"
    }


def test_of_two_samples_every_unit_is_dead_and_two_layers_differ_in_one_direction() -> None:
    found = raycv.compare(of_widths(2), compare="all")
    table = found.alignment()
    assert len(table) == 8
    np.testing.assert_allclose(table["linear_cka"], 1)
    assert table[["unbiased_cka", "mean", "beyond_chance"]].isna().all(axis=None)
    assert found.matching()["value"].isna().all()


def test_a_layer_of_one_unit_is_no_more_alike_than_its_rotations() -> None:
    rows = raycv.compare(of_widths(200), compare="all").matching().query("layer_b == 'p'")
    assert len(rows) == 2 * (1 + 5)
    np.testing.assert_allclose(rows["excess"], 0, atol=1e-12)
    assert (rows["p_value"] > 0.05).all()


def test_what_does_not_fit_the_memory_is_refused_before_it_is_kept() -> None:
    collected = Collected(expected=10**12)
    wide = np.zeros((2, 400_000), np.float32)
    with pytest.raises(UserError) as refused:
        collected.update(None, {"a/x": wide, "b/x": wide})
    said = str(refused.value)
    assert re.fullmatch(
        r"Comparing 800,000 units of 2 layers in 1,000,000,000,000 images takes [\d,.]+ GB of memory more and this "
        r"machine has [\d,.]+ GB to spare; name fewer layers with layers, give fewer images, or take means with "
        r'positions="mean"\.',
        said,
    )
    assert collected.samples == 0


def test_many_layers_are_named_without_a_look_at_all_pairs_of_units(monkeypatch: pytest.MonkeyPatch) -> None:
    x = np.random.default_rng(0).standard_normal((100, 20))
    found = raycv.compare({"a": x, "b": x})
    assert "seem to share" in repr(found)
    monkeypatch.setattr("raycv.api.comparison.MOST_LOOKED_AT", 399)
    assert "seem to share" not in repr(found)
    assert found.shared_origin
