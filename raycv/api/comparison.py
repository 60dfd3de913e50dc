"""What `raycv.compare` returns: tables of the units that belong together."""

from __future__ import annotations

import math
import os
import textwrap
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from raycv.analysis.arrays import Floats
from raycv.analysis.matching import bipartite_matching, semi_matching
from raycv.analysis.significance import FALSE_DISCOVERIES
from raycv.api import rows as made
from raycv.api import shown
from raycv.api.columns import (
    AVERAGES,
    PAIR,
    averages,
    check_average,
    matched,
    pairs_of,
    stability_columns,
    stacked,
)
from raycv.api.group import Group
from raycv.api.members import Member
from raycv.api.naming import LayerNames
from raycv.api.rows import PREDICTED, beside
from raycv.errors import UserError
from raycv.paper import DECAYS
from raycv.run import origin

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_LOOKED_AT = 2**25  # pairs of units in which a shared origin is looked for unasked


class Comparison:
    """Networks compared by `raycv.compare`, as tables of pandas.

    What `raycv.open_run` gives has the same methods. In every table net_a, layer_a, unit_a are compared with net_b,
    layer_b, unit_b, with one column ``layer`` where only layers of the same name are compared; layers are ordered
    categories, which sort as the networks run them. Every pair of networks is there both ways; a mapping predicts
    target units from source units. Dead units are constant once some eighth of the images is
    left out; of rare ones less than a fifth of the variance is left then, and there are none in fewer than 64 samples.
    Both keep their rows and numbers and have no partner.

    Attributes
    ----------
    left_out : dict of str to str
        By NET/LAYER why a module that ran is not compared, as one without an axis that counts images.
    control : Comparison or None
        The comparison of what was given as control.

    Examples
    --------
    >>> import numpy as np, raycv
    >>> x = np.random.default_rng(0).standard_normal((800, 20))
    >>> raycv.compare({"a": x, "b": x[:, ::-1]})
    Comparison of a and b in 800 samples
      a: activations (20 units)
      b: activations (20 units)
    """

    def __init__(
        self,
        groups: Sequence[Group],
        left_out: Mapping[str, str] | None = None,
        weight_correlations: Mapping[frozenset[str], float] | None = None,
        *,
        is_across: bool = False,
    ) -> None:
        self._across = is_across
        self._made, self._weight_correlations = groups, dict(weight_correlations or {})
        self.left_out = dict(left_out or {})
        self.control: Comparison | None = None

    @property
    def _groups(self) -> Sequence[Group]:
        """The layers that are compared with each other."""
        return self._made

    @property
    def _members(self) -> Sequence[Sequence[Member]]:
        """Those of every group."""
        return [group.members for group in self._groups]

    @property
    def _is_across(self) -> bool:
        """Whether all layers of a network are compared with all of another."""
        return self._across

    @cached_property
    def _names(self) -> LayerNames:
        return LayerNames.of(self._members, is_across=self._is_across)

    @property
    def weight_correlations(self) -> Mapping[frozenset[str], float]:
        """By pair of networks that have weights, how these correlate (`raycv.analysis.origin.weight_correlation`)."""
        return self._weight_correlations

    def __repr__(self) -> str:
        shared = self.shared_origin if self._is_quick else ""
        return "\n".join([self._headline, *shown.described(self._widths), *textwrap.wrap(shared, shown.WIDTH)])

    def _repr_html_(self) -> str:
        columns = ["mean_absolute", "unbiased_cka", "partner_stability"]
        tables = [self.alignment(columns)] if self._is_quick else []
        foot = "matching(), alignment(), recurrence(), mapping(), clusters(), measures(), plot() say more"
        shared = self.shared_origin if self._is_quick else ""
        return shown.as_html(self._headline, self._widths, tables, f"{shared}; {foot}" if shared else foot)

    @property
    def _headline(self) -> str:
        counts = sorted({group.samples for group in self._groups})
        samples = " to ".join(f"{count:,}" for count in dict.fromkeys((counts[0], counts[-1])))
        nets = list(self.networks)
        named = " and ".join(nets) if len(nets) < 3 else f"{len(nets)} networks"
        about = f"Comparison of {named} in {samples} samples{self._without}"
        return f"{about}, with a control" if self.control else about

    @property
    def _widths(self) -> dict[str, dict[str, int]]:
        """The units of every layer, by network."""
        found: dict[str, dict[str, int]] = {net: {} for net in self.networks}
        for group in self._groups:
            for member, width in zip(group.members, group.sums.widths, strict=True):
                found[member.net][member.layer] = int(width)
        return found

    @property
    def _is_quick(self) -> bool:
        """Whether there are few enough pairs of units to look at all of them for a line of text."""
        return sum(units for group, pairs in self._of_origin for units in group.units_of(pairs)) <= MOST_LOOKED_AT

    @property
    def _without(self) -> str:
        """How many units take no part, if any."""
        dead = np.concatenate([group.singles.dead() for group in self._groups])
        left_out = np.concatenate([group.left_out for group in self._groups])
        units, counts = len(dead), {"dead": int(dead.sum()), "rare": int((left_out & ~dead).sum())}
        named = " and ".join(f"{count:,} {kind}" for kind, count in counts.items() if count)
        return f", without {named} of {units:,} units" if named else ""

    @cached_property
    def shared_origin(self) -> str:
        """Which networks seem to share their first weights, in one sentence; empty where none do.

        From the share of units whose best partner has their own index, see ``alignment``, in layers of the same name,
        or in all layers that were compared where none share a name; and from ``weight_correlations``.

        Examples
        --------
        >>> import numpy as np, raycv
        >>> first = np.random.default_rng(0).standard_normal((800, 20))
        >>> noise = np.random.default_rng(1).standard_normal((800, 20))
        >>> found = raycv.compare({"snapshot": first, "later": first + noise})
        >>> found.shared_origin.split(":")[0]
        'snapshot and later seem to share their first weights'
        """
        rows = []
        for group, wanted in self._of_origin:
            for pair in pairs_of(group, among=wanted):
                a, b = (group.members[n] for n in pair.at)
                weights = self.weight_correlations.get(frozenset((a.net, b.net)), math.nan)
                about = {"net_a": a.net, "net_b": b.net, "layer": a.layer, origin.WEIGHTS: weights}
                rows.append(about | dict(zip(origin.COLUMNS, pair.same_index, strict=True)))
        return origin.shared_origin(pd.DataFrame(rows)) if rows else ""

    @property
    def _of_origin(self) -> list[tuple[Group, list[tuple[int, int]]]]:
        """The pairs of layers that say whether networks share their origin, by group."""
        named = [(group, [pair for pair in group.pairs if group.are_namesakes(*pair)]) for group in self._groups]
        return named if any(pairs for _, pairs in named) else [(group, group.pairs) for group in self._groups]

    @property
    def samples(self) -> int:
        """How many samples the layers have; each position of an image is one.

        Raises
        ------
        UserError
            Where layers differ; ``units()`` has the number for each.
        """
        counts = {str(group.members[0]): group.samples for group in self._groups}
        if len(set(counts.values())) > 1:
            few, many = (pick(counts, key=counts.__getitem__) for pick in (min, max))
            raise UserError(
                f"The layers have different numbers of samples, as {few} {counts[few]:,} and {many} {counts[many]:,}; "
                "see the column samples of units()."
            )
        return next(iter(counts.values()))

    @property
    def members(self) -> list[Member]:
        """The layers compared, with their networks."""
        return [member for members in self._members for member in members]

    @property
    def networks(self) -> Mapping[str, Any]:
        """By name of the networks, the names of their layers."""
        found: dict[str, list[str]] = {}
        for member in self.members:
            found.setdefault(member.net, []).append(member.layer)
        return {net: list(dict.fromkeys(layers)) for net, layers in found.items()}

    @property
    def layers(self) -> list[str]:
        """The names of the layers that were compared, first to last."""
        return list(self._names.order)

    def correlation(self, layer: str | tuple[str, str], net_a: str, net_b: str) -> Floats:
        """Correlate the units of two networks in a layer, or in two layers (Pearson).

        Parameters
        ----------
        layer : str, or tuple of two str
            A layer of both networks, or one of ``net_a`` and one of ``net_b``.
        net_a, net_b : str
            Two of ``networks``; both may be the same.

        Returns
        -------
        ndarray of shape (S_a, S_b), float64
            NaN in the rows and columns of dead and rare units.

        Raises
        ------
        UserError
            For a network that is none, and for layers that were not compared with each other.

        Examples
        --------
        >>> import numpy as np, raycv
        >>> x = np.random.default_rng(0).standard_normal((800, 20))
        >>> found = raycv.compare({"a": x, "b": x[:, ::-1]})
        >>> found.correlation("activations", "a", "b")[0, 19].round(6)
        np.float64(1.0)
        """
        group, a, b = self._found_at(layer, net_a, net_b)
        return group.correlation(a, b)

    def _found_at(self, layer: str | tuple[str, str], net_a: str, net_b: str) -> tuple[Group, int, int]:
        """The group in which two layers are compared, and their numbers there."""
        for net in (net_a, net_b):
            if net not in self.networks:
                raise UserError(f"There is no network {net!r}; there are {', '.join(self.networks)}.")
        layers = (layer, layer) if isinstance(layer, str) else tuple(layer)
        if len(layers) != 2:
            raise UserError(f"{layer!r} must name one layer, or one of {net_a} and one of {net_b}.")
        wanted = Member(net_a, layers[0]), Member(net_b, layers[1])
        for n, members in enumerate(self._members):
            if all(one in members for one in wanted):
                return self._groups[n], members.index(wanted[0]), members.index(wanted[1])
        of_nets = ", ".join(str(member) for member in self.members if member.net in (net_a, net_b))
        raise UserError(f"{wanted[0]} and {wanted[1]} were not compared; there are {of_nets}.")

    def units(self) -> pd.DataFrame:
        """Describe every unit: its mean, deviation and active fraction, and whether it takes part.

        Returns
        -------
        DataFrame
            One row per unit. unit_name: the column of a table that the unit was recorded in, missing where there is
            none; mean, std: in units of the activation; active_fraction: the share of samples above 0; is_dead,
            is_rare; samples: how many its layer has.

        Examples
        --------
        >>> import numpy as np, raycv
        >>> x = np.random.default_rng(0).standard_normal((800, 20))
        >>> x[:, 3] = 7  # a unit that never changes
        >>> raycv.compare({"a": x, "b": x}).units().query("is_dead")[["net", "unit", "mean"]].values.tolist()
        [['a', 3, 7.0], ['b', 3, 7.0]]
        """
        return self._names.named(pd.concat([group.units() for group in self._groups], ignore_index=True))

    def matching(self, method: str = "semi", *, signed: bool = False) -> pd.DataFrame:
        """Give every unit of a its partner in b, by correlation (paper, section 3.1).

        Parameters
        ----------
        method : {"semi", "bipartite"}, default "semi"
            "semi" takes the best for each unit, "bipartite" pairs units one to one.
        signed : bool, default False
            Whether the best is the one of largest correlation, as in the paper, rather than of largest absolute
            correlation. For units after a ReLU these are mostly the same.

        Returns
        -------
        DataFrame
            One row per unit and other network. unit_b: the partner, -1 where there is none; value: the correlation with
            it, NaN there; sign: -1 or 1, and 0 there.

            "semi" adds partner_stability, the share of four splits of the samples (one in wide layers) whose halves
            name the same partner, and heldout_value, the correlation in the half that did not name it, without
            ``signed`` negative where it changes its sign. Both are NaN where all samples are one fold.

            "semi" without ``signed`` adds rotated_value, what randomly rotated units of b give, which have no sign;
            excess, of the absolute correlation over that; p_value, how often chance gives as much, the largest of what
            units of b mixed and whole images shuffled give; q_value, the false discovery rate at which the partner
            counts. The last two are NaN after compare="all" on Ray.

        Raises
        ------
        UserError
            For another method.

        Examples
        --------
        >>> import numpy as np, raycv
        >>> x = np.random.default_rng(0).standard_normal((800, 20))
        >>> found = raycv.compare({"a": x, "b": -x[:, ::-1]})
        >>> found.matching().round(2)[["unit_a", "unit_b", "value", "sign"]].values.tolist()[0]
        [0.0, 19.0, -1.0, -1.0]
        >>> bool((found.matching()["q_value"] < 0.05).all())
        True
        """
        methods = {"semi": semi_matching, "bipartite": bipartite_matching}
        if method not in methods:
            raise UserError(f"There is no method {method!r}; allowed are {', '.join(methods)}.")

        semi, tables = method == "semi", []
        for group in self._groups:
            found = {}
            for pair in pairs_of(group, stable=semi, signed=signed):
                units = methods[method](pair.cross if signed else np.abs(pair.cross)).columns
                columns = matched(pair, units, tested=semi and not signed)
                found[pair.at] = columns | (stability_columns(pair) if semi else {})
            tables.append(stacked(group, found))
        return self._names.named(pd.concat(tables, ignore_index=True))

    def alignment(self, columns: Sequence[str] | None = None) -> pd.DataFrame:
        """Say how alike the units of every two layers are, and their subspaces.

        Parameters
        ----------
        columns : sequence of str, optional
            Which of the columns below; None: all. Those that need no rotations are much faster.

        Returns
        -------
        DataFrame
            One row per ordered pair of layers. mean: the mean correlation of each unit with its best partner;
            mean_absolute: of absolute values; rotated_mean: the same after random rotations of b's units; excess: the
            difference; beyond_chance: the fraction of units with a partner at a false discovery rate of 5%; linear_cka:
            of the two layers as wholes, too large where samples are not many more than units; unbiased_cka: without
            that, may be a little below 0; partner_stability and heldout_mean: means of these columns of ``matching``;
            same_index: the fraction of units whose best partner has their own index, as in networks that share their
            first weights, with same_index_chance and same_index_p_value for units of b in any order.

            With a control its values stand behind as control_mean and so on, NaN where it lacks a layer. A run has
            those of mean, excess and beyond_chance of its untrained networks, once `raycv align` has finished.

        Raises
        ------
        UserError
            For another column.

        Examples
        --------
        >>> import numpy as np, raycv
        >>> x = np.random.default_rng(0).standard_normal((800, 20))
        >>> found = raycv.compare({"a": x, "b": x[:, ::-1]})
        >>> found.alignment(["mean", "linear_cka"]).round(3)[["net_a", "net_b", "mean", "linear_cka"]].values.tolist()
        [['a', 'b', 1.0, 1.0], ['b', 'a', 1.0, 1.0]]
        """
        return self._names.named(self._alignment(list(AVERAGES) if columns is None else list(columns)))

    def _alignment(self, columns: Sequence[str]) -> pd.DataFrame:
        for column in columns:
            check_average(column)
        rows = pd.concat([averages(group, columns) for group in self._groups], ignore_index=True)
        return rows if self.control is None else beside(rows, self.control._alignment(columns))

    def mapping(self, decays: Sequence[float] = DECAYS) -> pd.DataFrame:
        """Predict target units from source units by sparse mapping layers (paper, section 4).

        They are fitted on all samples by the exact LASSO, so small numbers of samples flatter small decays.

        Parameters
        ----------
        decays : sequence of float
            Strengths of the L1 penalty, each 0 or more; by default the seven from 0 to 0.1 of the paper's Table 1.

        Returns
        -------
        DataFrame
            One row per ordered pair of layers and decay: source_net, source_layer, target_net, target_layer, or one
            layer; decay; loss: half the mean squared error of z-scores, 0.5 for predicting nothing; r2 = 1 - 2 loss;
            units_used: source units per target unit. With a control also control_loss and so on.

        Raises
        ------
        ValueError
            For a decay that is negative or not finite.

        Examples
        --------
        >>> import numpy as np, raycv
        >>> x = np.random.default_rng(0).standard_normal((800, 20))
        >>> found = raycv.compare({"a": x, "b": x[:, ::-1]})
        >>> found.mapping([0.001]).round(2)[["source_net", "r2", "units_used"]].values.tolist()
        [['a', 1.0, 1.0], ['b', 1.0, 1.0]]
        """
        return self._names.named(self._mappings(decays).rename(columns=dict(zip(PAIR, PREDICTED, strict=True))))

    def _mappings(self, decays: Sequence[float]) -> pd.DataFrame:
        rows = pd.concat([made.mappings(group, decays) for group in self._groups], ignore_index=True)
        return rows if self.control is None else beside(rows, self.control._mappings(decays))

    def measures(self) -> pd.DataFrame:
        """Compute published measures of similarity of every two layers, as in a run's table ``measures``.

        Returns
        -------
        DataFrame
            One row per pair of layers and measure. measure, value: linear_cka, debiased_cka (linear CKA without bias,
            from folds), mean_cca, svcca, pwcca and regression_r2 (both ways), procrustes_distance, angular_distance,
            permutation_procrustes_distance, hard_correlation_match, soft_correlation_match, soft_matching_distance,
            partial_matching_score and its mass, and of each layer alone effective_dimension; low, high: 95% jackknife
            over folds of the samples, NaN where that takes long; chance: after rotations, of those that match units,
            NaN for others, which a ``control`` can tell (control_value).

        Examples
        --------
        >>> import numpy as np, raycv
        >>> x = np.random.default_rng(0).standard_normal((800, 20))
        >>> rows = raycv.compare({"a": x, "b": x[:, ::-1]}).measures().set_index("measure")["value"].round(3)
        >>> rows[["debiased_cka", "svcca", "hard_correlation_match"]].tolist()
        [1.0, 1.0, 1.0]
        """
        return self._names.named(self._measures())

    def _measures(self) -> pd.DataFrame:
        rows = [row for group in self._groups for row in made.measures(group)]
        found = pd.DataFrame(rows).drop_duplicates([*PAIR, "measure"], ignore_index=True)  # dimensions of one layer
        return found if self.control is None else beside(found, self.control._measures()[[*PAIR, "measure", "value"]])

    def clusters(self, k: int | None = None) -> pd.DataFrame:
        """Cluster the units of every two layers together (paper, section 5).

        Parameters
        ----------
        k : int, optional
            How many clusters; None: in proportion to the units, as the paper's.

        Returns
        -------
        DataFrame
            One row per unit of either layer, each two layers once: net_a, layer_a, net_b, layer_b, or one layer; k;
            net, layer, unit; cluster, -1 for units without an edge, as dead and rare ones are.

        Raises
        ------
        Infeasible
            For a k that the graph does not allow.

        Examples
        --------
        >>> import numpy as np, raycv
        >>> x = np.random.default_rng(0).standard_normal((800, 20))
        >>> rows = raycv.compare({"a": x, "b": x[:, ::-1]}).clusters(k=20)
        >>> rows.query("unit == 0 and net == 'a' or unit == 19 and net == 'b'")["cluster"].nunique()
        1
        """
        tables = []
        for group in self._groups:
            tables += [made.clustered(pair, k) for pair in pairs_of(group) if pair.at[0] < pair.at[1]]
        return self._names.named(pd.concat(tables, ignore_index=True))

    def recurrence(self) -> pd.DataFrame:
        """Find which units come back in all other networks, and in how many each has a partner.

        Returns
        -------
        DataFrame
            One row per unit: layer, net, unit; partners: the number of other networks in which it has a partner beyond
            chance, at a false discovery rate of 5% for each pair of networks; mutual: in how many it is in turn the
            best unit for its own best unit; excess: as of ``matching``, mean over the other networks, NaN for dead and
            rare units; p_value: that it has a partner in all of them, and q_value, the false discovery rate at which it
            does; recurring_group: the number, in its layer, of the group of one unit per network that are all mutual
            best units, -1 if it is in none.

        Raises
        ------
        UserError
            After compare="all" of networks of several layers.

        Examples
        --------
        >>> import numpy as np, raycv
        >>> rng = np.random.default_rng(0)
        >>> x = rng.standard_normal((800, 20))
        >>> found = raycv.compare({"a": x, "b": x[:, ::-1], "c": rng.standard_normal((800, 20))})
        >>> found.recurrence().groupby("net")["partners"].max().to_dict()
        {'a': 1, 'b': 1, 'c': 0}
        """
        return self._names.named(pd.concat([made.recurrence(group) for group in self._groups], ignore_index=True))

    def nearest_layers(self, by: str = "unbiased_cka") -> pd.DataFrame:
        """Find for every layer and other network the layer there that is most like it.

        Useful after compare="all".

        Parameters
        ----------
        by : str, default "unbiased_cka"
            A column of ``alignment``; the largest value counts as most alike.

        Returns
        -------
        DataFrame
            One row per layer and other network: net_a, layer_a, net_b, layer_b and the column. A layer without a live
            unit has none and is left out.

        Raises
        ------
        UserError
            For another column.

        Examples
        --------
        >>> import numpy as np, raycv
        >>> x = np.random.default_rng(0).standard_normal((800, 20))
        >>> one, other = {"low": x, "high": np.maximum(x[:, :5], 0)}, {"start": x[:, ::-1], "end": np.abs(x[:, :5])}
        >>> nearest = raycv.compare({"a": one, "b": other}, compare="all").nearest_layers()
        >>> nearest.query("net_b == 'b'")[["layer_a", "layer_b"]].values.tolist()
        [['low', 'start'], ['high', 'start']]
        """
        return self._names.named(self._nearest_layers(by))

    def _nearest_layers(self, by: str) -> pd.DataFrame:
        table = self._alignment([by]).dropna()
        best = table.groupby(["net_a", "layer_a", "net_b"], sort=False)[by].idxmax()
        return table.loc[best].reset_index(drop=True)

    def layer_identification(self, by: str = "unbiased_cka") -> pd.DataFrame:
        """Compute the share of layers whose nearest layer in another network is the one of their own name.

        The layer identification test between networks of one architecture (Kornblith et al., 2019, section 6.1), after
        compare="all".

        Parameters
        ----------
        by : str, default "unbiased_cka"
            A column of ``alignment``, as in ``nearest_layers``.

        Returns
        -------
        DataFrame
            net_a, net_b; layers, how many of net_a have a namesake in net_b; accuracy, the share of these that find it.

        Raises
        ------
        UserError
            For another column, and where no two layers have the same name.

        Examples
        --------
        >>> import numpy as np, raycv
        >>> x = np.random.default_rng(0).standard_normal((800, 20))
        >>> one, other = {"low": x, "high": x[:, :5] ** 2}, {"low": x[:, ::-1], "high": x[:, 4::-1] ** 2}
        >>> found = raycv.compare({"a": one, "b": other}, compare="all")
        >>> found.layer_identification().values.tolist()
        [['a', 'b', 2, 1.0], ['b', 'a', 2, 1.0]]
        """
        nearest = self._nearest_layers(by)
        there = {(member.net, member.layer) for member in self.members}
        named = nearest[[pair in there for pair in zip(nearest["net_b"], nearest["layer_a"], strict=True)]]
        if named.empty:
            raise UserError("No layer has the same name in two networks, so none can be found by its name.")
        right = named.assign(right=named["layer_a"] == named["layer_b"]).groupby(["net_a", "net_b"], sort=False)
        return right["right"].agg(layers="size", accuracy="mean").reset_index()

    def mutual_partners(self) -> pd.DataFrame:
        """Find units of two networks that are each other's best partner among the units of *all* layers.

        After compare="all", one of any layer; otherwise of the layers compared with each other.

        Returns
        -------
        DataFrame
            net_a, layer_a, unit_a, net_b, layer_b, unit_b and value, the correlation; each pair is there once.

        Examples
        --------
        >>> import numpy as np, raycv
        >>> x = np.random.default_rng(0).standard_normal((800, 20))
        >>> one, other = {"low": x[:, :10], "high": x[:, 10:]}, {"start": x[:, 12:8:-1], "end": x[:, :2]}
        >>> pairs = raycv.compare({"a": one, "b": other}, compare="all").mutual_partners()
        >>> pairs[["layer_a", "unit_a", "layer_b", "unit_b"]].values.tolist()[-3:]
        [['high', 0, 'start', 2], ['high', 1, 'start', 1], ['high', 2, 'start', 0]]
        """
        tables = []
        for group in self._groups:
            tables += [group.mutual(net_a, net_b) for net_a, net_b in combinations(group.nets, 2)]
        return self._names.named(pd.concat(tables, ignore_index=True))

    def save(self, path: str | os.PathLike[str]) -> str:
        """Write all that the tables are computed from, to be read by `raycv.load`.

        That is as much as the comparison takes in memory: the samples, or the products of all units.

        Parameters
        ----------
        path : str or path
            A folder that is new or empty, a local path or ``s3://bucket/prefix``.

        Returns
        -------
        str
            The folder.

        Raises
        ------
        UserError
            For a folder that holds anything, and for a run, which is stored already.

        Examples
        --------
        >>> import numpy as np, raycv, tempfile
        >>> x = np.random.default_rng(0).standard_normal((800, 20))
        >>> folder = raycv.compare({"a": x, "b": x[:, ::-1]}).save(f"{tempfile.mkdtemp()}/found")
        >>> raycv.load(folder).samples
        800
        """
        from raycv.api.stored import save

        return save(self, path)

    def top_samples(self, net: str, layer: str, unit: int) -> pd.DataFrame:
        """Name the samples in which a unit is most active.

        Parameters
        ----------
        net : str
            One of ``networks``.
        layer : str
            A layer of it.
        unit : int
            A unit of the layer.

        Returns
        -------
        DataFrame
            One row for each of the nine samples of largest activation, or as many as there are, each at its best
            position: rank, from 1; sample, the number in the data, from 0; id, its name, where samples have names;
            position, the number in the layer, row by row; value, the activation as it is compared.

        Raises
        ------
        UserError
            For a network, layer or unit that was not compared, and where no samples were noted.

        Examples
        --------
        >>> import numpy as np, raycv
        >>> x = np.random.default_rng(0).standard_normal((800, 20))
        >>> found = raycv.compare({"a": x, "b": x[:, ::-1]})
        >>> found.top_samples("a", "activations", 7)["sample"][0] == x[:, 7].argmax()
        np.True_
        """
        group, number, _ = self._found_at(layer, net, net)
        self._check_unit(net, layer, unit, int(group.sums.widths[number]))
        if group.top is None:
            raise UserError("This comparison has noted no samples of largest activation; compare the networks again.")
        return group.top.of(str(group.members[number]), unit)

    def _check_unit(self, net: str, layer: str, unit: int, width: int) -> None:
        if not 0 <= unit < width:
            raise UserError(f"{net} has no unit {unit} in layer {layer}; its units are 0 to {width - 1:,}.")

    def plot(
        self,
        layer: str | tuple[str, str] | None = None,
        net_a: str | None = None,
        net_b: str | None = None,
        unit: int | None = None,
        *,
        by: str | None = None,
    ) -> Figure:
        """Draw the layers, the units of two layers against chance, or one unit with its best partner.

        A notebook shows what is returned; ``plot().savefig("layers.png")`` writes it. This needs matplotlib.

        Parameters
        ----------
        layer : str, or tuple of two str, optional
            As in ``correlation``; None draws all layers.
        net_a, net_b : str, optional
            The two networks, with ``layer``; None: the first two.
        unit : int, optional
            A unit of ``net_a``, to draw against its partner, sample by sample; of a run by their highest activations in
            each of the images that `raycv patches` has sampled.
        by : str, optional
            The column of ``alignment`` by which all layers are drawn; None: unbiased_cka after compare="all", and
            otherwise mean_absolute beside rotated_mean.

        Returns
        -------
        matplotlib.figure.Figure
            Of its own, which pyplot does not know.

        Raises
        ------
        UserError
            For layers, networks, units or columns that there are not, and for samples that are not kept.

        Examples
        --------
        >>> import numpy as np, raycv
        >>> x = np.random.default_rng(0).standard_normal((800, 20))
        >>> found = raycv.compare({"a": x, "b": x[:, ::-1]})
        >>> figures = found.plot(), found.plot("activations"), found.plot("activations", unit=3)
        >>> [len(figure.axes) for figure in figures]
        [1, 1, 1]
        """
        from raycv.drawing import comparison as drawing

        if layer is None:
            if self._is_across:
                rows = self.alignment([by or "unbiased_cka"])
                return drawing.layers_map(rows, by or "unbiased_cka", list(combinations(self.networks, 2)))
            columns = [by] if by else ["mean_absolute", "rotated_mean"]
            rows = self.alignment(columns)
            if "layer" not in rows:
                rows = rows.rename(columns={"layer_a": "layer"})
            return drawing.layers_lines(rows, columns[0], None if by else columns[1])
        nets = list(self.networks)
        first = net_a or next(net for net in nets if net != net_b)
        second = net_b or next(net for net in nets if net != first)
        group, a, b = self._found_at(layer, first, second)
        if a == b:
            raise UserError(f"A plot of units is of two networks, and {first} is named twice.")
        of_pair = pairs_of(group, among=[(min(a, b), max(a, b))])
        pair = next(pair for pair in of_pair if pair.at == (a, b))
        rows = pd.DataFrame(matched(pair, pair.partners.columns, tested=True))
        if unit is None:
            return drawing.units_against_null(rows, first, second, FALSE_DISCOVERIES)
        return self._plotted_pair(group, a, b, unit, rows)

    _shown_in = "{:,} samples"  # what two units are drawn in

    def _plotted_pair(self, group: Group, a: int, b: int, unit: int, rows: pd.DataFrame) -> Figure:
        """A unit of member a and its partner in b, sample by sample."""
        from raycv.drawing.comparison import pair_of_units

        of_a, of_b = str(group.members[a]), str(group.members[b])
        self._check_unit(group.members[a].net, group.members[a].layer, unit, len(rows))
        partner, value = int(rows["unit_b"][unit]), float(rows["value"][unit])
        if partner < 0:
            raise UserError(f"Unit {unit} of {of_a} is dead or rare and has no partner.")
        names = f"{of_a}, unit {unit}", f"{of_b}, unit {partner}"
        x, y = self._activations_of(group, a, unit), self._activations_of(group, b, partner)
        return pair_of_units(x, y, names, value, self._shown_in)

    def _activations_of(self, group: Group, at: int, unit: int) -> Floats:
        """What a unit of member ``at`` gives in the samples in which two units are drawn."""
        kept = group.chance.activations(str(group.members[at])) if group.chance else None
        if kept is None:
            raise UserError("This comparison has kept no samples to draw two units in; compare the networks again.")
        return np.asarray(kept[:, unit], dtype=np.float64)

    @property
    def tables(self) -> list[str]:
        """The names of what ``table`` gives."""
        return list(self._makers)

    @property
    def _makers(self) -> dict[str, Callable[[], pd.DataFrame]]:
        return {
            "units": self.units,
            "matchings": self.matching,
            "alignment": self.alignment,
            "measures": self.measures,
            "mappings": self.mapping,
            "cluster_members": self.clusters,
            "recurrence": self.recurrence,
        }

    def table(self, name: str, **equalities: Any) -> pd.DataFrame:
        """Compute a table by the name that it has in a run, or some of its rows.

        Parameters
        ----------
        name : {"units", "matchings", "alignment", "measures", "mappings", "cluster_members", "recurrence"}
            Those of ``units``, ``matching``, ``alignment``, ``measures``, ``mapping``, ``clusters`` and ``recurrence``,
            with their defaults.
        equalities : value by column
            Rows in which every named column has the given value; a value that does not occur gives no rows.

        Returns
        -------
        DataFrame
            As the method gives it.

        Raises
        ------
        UserError
            For another name, and for a column that the table does not have.

        Examples
        --------
        >>> import numpy as np, raycv
        >>> x = np.random.default_rng(0).standard_normal((800, 20))
        >>> found = raycv.compare({"a": x, "b": x[:, ::-1]})
        >>> found.table("units", net="b", unit=3)[["net", "unit", "is_dead"]].values.tolist()
        [['b', 3, False]]
        """
        if name not in self._makers:
            raise UserError(f"There is no table {name!r}; there are {', '.join(self.tables)}.")
        rows = self._makers[name]()
        for column, value in equalities.items():
            if column not in rows:
                raise UserError(f"The table {name!r} has no column {column!r}; it has {', '.join(rows.columns)}.")
            rows = rows[rows[column] == value]
        return rows.reset_index(drop=True)
