"""What `raycv.compare` returns: tables of the units that belong together."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from raycv.analysis.arrays import Floats
from raycv.analysis.mapping import lasso_path
from raycv.analysis.matching import bipartite_matching, semi_matching
from raycv.analysis.spectral import spectral_clusters
from raycv.comparing.columns import (
    AVERAGES,
    PAIR,
    PairOfLayers,
    averages,
    check_average,
    matched,
    pairs_of,
    stability_columns,
    stacked,
)
from raycv.comparing.group import Group, Tested, UnitNames
from raycv.comparing.kept import KeptMembers
from raycv.comparing.measuring import measured
from raycv.comparing.members import Member
from raycv.errors import UserError
from raycv.paper import DECAYS, THRESHOLD
from raycv.run import origin

MOST_LOOKED_AT = 2**25  # pairs of units in which a shared origin is looked for unasked


class Comparison:
    """Networks compared by `raycv.compare`, as tables of pandas.

    In every table net_a, layer_a, unit_a are compared with net_b, layer_b, unit_b; every pair of networks is there both
    ways; a mapping predicts target units from source units. Dead units are constant once some eighth of the images is
    left out; of rare ones less than a fifth of the variance is left then, and there are none in fewer than 64 samples.
    Both keep their rows and numbers and have no partner.

    Attributes
    ----------
    left_out : dict of str to str
        By NET/LAYER why a module that ran is not compared, as one without an axis that counts images.
    control : Comparison or None
        The comparison of what was given as control.
    weight_correlations : dict of frozenset of str to float
        By pair of networks that have weights, how these correlate (`raycv.analysis.origin.weight_correlation`).

    Examples
    --------
    >>> import numpy as np, raycv
    >>> x = np.random.default_rng(0).standard_normal((800, 20))
    >>> raycv.compare({"a": x, "b": x[:, ::-1]})
    Comparison of a/activations, b/activations in 800 samples
    """

    def __init__(
        self,
        compared: Sequence[tuple[list[Member], KeptMembers, Tested | None]],
        unit_names: UnitNames | None = None,
        left_out: Mapping[str, str] | None = None,
        keep_rare: bool = False,
        weight_correlations: Mapping[frozenset[str], float] | None = None,
    ) -> None:
        self.weight_correlations = dict(weight_correlations or {})
        self._groups = [Group(*of_group, unit_names or {}, keep_rare) for of_group in compared]
        self.left_out = dict(left_out or {})
        self.control: Comparison | None = None

    def __repr__(self) -> str:
        counts = sorted({group.samples for group in self._groups})
        samples = " to ".join(f"{count:,}" for count in dict.fromkeys((counts[0], counts[-1])))
        named = dict.fromkeys(map(str, self.members))
        about = f"Comparison of {', '.join(named)} in {samples} samples{self._without}"
        about += ", with a control" if self.control else ""
        shared = self.shared_origin if self._is_quick else ""
        return f"{about}\n{shared}" if shared else about

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
        return [member for group in self._groups for member in group.members]

    def correlation(self, a: str, b: str) -> Floats:
        """Correlate the units of two layers (Pearson).

        Parameters
        ----------
        a, b : str
            Two layers that were compared with each other, each named as NET/LAYER.

        Returns
        -------
        ndarray of shape (S_a, S_b), float64
            NaN in the rows and columns of dead and rare units.

        Raises
        ------
        UserError
            For layers that were not compared with each other.

        Examples
        --------
        >>> import numpy as np, raycv
        >>> x = np.random.default_rng(0).standard_normal((800, 20))
        >>> found = raycv.compare({"a": x, "b": x[:, ::-1]})
        >>> found.correlation("a/activations", "b/activations")[0, 19].round(6)
        np.float64(1.0)
        """
        for group in self._groups:
            names = [str(member) for member in group.members]
            if a in names and b in names:
                return group.correlation(names.index(a), names.index(b))
        raise UserError(f"{a!r} and {b!r} were not compared; there are {', '.join(map(str, self.members))}.")

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
        return pd.concat([group.units() for group in self._groups], ignore_index=True)

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
        return pd.concat(tables, ignore_index=True)

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

            With a control its values stand behind as control_mean and so on, NaN where it lacks a layer.

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
        chosen = list(AVERAGES) if columns is None else list(columns)
        for column in chosen:
            check_average(column)
        rows = pd.concat([averages(group, chosen) for group in self._groups], ignore_index=True)
        return rows if self.control is None else beside(rows, self.control.alignment(chosen))

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
            One row per ordered pair of layers and decay: source_net, source_layer, target_net, target_layer, decay;
            loss: half the mean squared error of z-scores, 0.5 for predicting nothing; r2 = 1 - 2 loss; units_used:
            source units per target unit. With a control also control_loss and so on.

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
        return self._mappings(decays).rename(columns=dict(zip(PAIR, PREDICTED, strict=True)))

    def _mappings(self, decays: Sequence[float]) -> pd.DataFrame:
        tables = []
        for group in self._groups:
            tables.append(stacked(group, {pair.at: _mapped(pair, decays) for pair in pairs_of(group)}))
        rows = pd.concat(tables, ignore_index=True)
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
        rows = []
        for group in self._groups:
            for a, b in combinations(range(len(group.members)), 2):
                both = group.members[a], group.members[b]
                for one in measured(group.folds(a, b)) if both[0].net != both[1].net else ():
                    (net_a, layer_a), (net_b, layer_b) = both[one.a], both[one.b]
                    about = {"net_a": net_a, "layer_a": layer_a, "net_b": net_b, "layer_b": layer_b}
                    ends = {"low": one.interval.low, "high": one.interval.high, "chance": one.chance}
                    rows.append(about | {"measure": one.measure, "value": one.value} | ends)
        found = pd.DataFrame(rows).drop_duplicates([*PAIR, "measure"], ignore_index=True)  # dimensions of one layer
        return found if self.control is None else beside(found, self.control.measures()[[*PAIR, "measure", "value"]])

    def clusters(self, k: int | None = None) -> pd.DataFrame:
        """Cluster the units of every two layers together (paper, section 5).

        Parameters
        ----------
        k : int, optional
            How many clusters; None: in proportion to the units, as the paper's.

        Returns
        -------
        DataFrame
            One row per unit of either layer, each two layers once: net_a, layer_a, net_b, layer_b, k; net, layer, unit;
            cluster, -1 for units without an edge, as dead and rare ones are.

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
        once = [pair for group in self._groups for pair in pairs_of(group) if pair.at[0] < pair.at[1]]
        return pd.concat([_clustered(pair, k) for pair in once], ignore_index=True)

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
        table = self.alignment([by]).dropna()
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
        nearest = self.nearest_layers(by)
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
        return pd.concat(tables, ignore_index=True)

    def table(self, name: str) -> pd.DataFrame:
        """Compute a table by the name that it has in a run.

        Parameters
        ----------
        name : {"units", "matchings", "alignment", "measures", "mappings", "cluster_members"}
            Those of ``units``, ``matching``, ``alignment``, ``measures``, ``mapping`` and ``clusters``, with their
            defaults.

        Returns
        -------
        DataFrame
            As the method gives it.

        Raises
        ------
        UserError
            For another name.

        Examples
        --------
        >>> import numpy as np, raycv
        >>> x = np.random.default_rng(0).standard_normal((800, 20))
        >>> found = raycv.compare({"a": x, "b": x[:, ::-1]})
        >>> found.table("units").equals(found.units())
        True
        """
        makers: dict[str, Callable[[], pd.DataFrame]] = {
            "units": self.units,
            "matchings": self.matching,
            "alignment": self.alignment,
            "measures": self.measures,
            "mappings": self.mapping,
            "cluster_members": self.clusters,
        }
        if name not in makers:
            raise UserError(f"There is no table {name!r}; there are {', '.join(makers)}.")
        return makers[name]()


PREDICTED = ["source_net", "source_layer", "target_net", "target_layer"]  # PAIR where b is predicted from a


def beside(rows: pd.DataFrame, control: pd.DataFrame) -> pd.DataFrame:
    """``rows`` with the values of ``control`` of the same layers, decays and measures behind, as control_NAME."""
    keys = [*PAIR, *(name for name in ("decay", "measure") if name in rows)]
    return rows.merge(control.rename(columns=lambda name: name if name in keys else f"control_{name}"), "left", keys)


def _mapped(pair: PairOfLayers, decays: Sequence[float]) -> dict[str, Any]:
    path = lasso_path(pair.group.correlation(pair.at[0], pair.at[0]), pair.cross, decays)
    return {
        "decay": list(decays),
        "loss": [layer.loss for layer in path],
        "r2": [layer.r2 for layer in path],
        "units_used": [layer.units_used() for layer in path],
    }


def _clustered(pair: PairOfLayers, k: int | None) -> pd.DataFrame:
    first, second = (pair.group.members[n] for n in pair.at)
    a, b = (pair.group.correlation(n, n) for n in pair.at)
    found = spectral_clusters(np.block([[a, pair.cross], [pair.cross.T, b]]), len(a), k, threshold=THRESHOLD)
    about = dict(zip(PAIR, (*first, *second), strict=True)) | {"k": found.k}
    sides = ((*first, len(a)), (*second, len(b)))
    rows = pd.concat([pd.DataFrame({"net": net, "layer": layer, "unit": range(units)}) for net, layer, units in sides])
    return rows.assign(**about, cluster=found.labels)[[*about, "net", "layer", "unit", "cluster"]]
