"""What `raycv.compare` returns: tables of the units that belong together."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from itertools import combinations, permutations
from typing import Any, Protocol

import numpy as np
import pandas as pd

from raycv.analysis.arrays import Floats
from raycv.analysis.averages import mean as mean_of
from raycv.analysis.mapping import lasso_path
from raycv.analysis.matching import bipartite_matching, semi_matching
from raycv.analysis.measures.alignment import cross_fold_cka, debiased_cka, linear_cka
from raycv.analysis.measures.covariances import Covariances
from raycv.analysis.measures.norms import NormSums
from raycv.analysis.nulls import best_correlation
from raycv.analysis.origin import SameIndex, same_index
from raycv.analysis.partner_stability import Stability
from raycv.analysis.partners import Partners, partners
from raycv.analysis.significance import Draws
from raycv.analysis.spectral import spectral_clusters
from raycv.comparing.measuring import measured
from raycv.comparing.members import Member
from raycv.comparing.moments import Moments
from raycv.errors import UserError
from raycv.paper import DECAYS, THRESHOLD
from raycv.run import origin
from raycv.statistics.folds import correlation_of
from raycv.statistics.halves import halves, stabilities
from raycv.statistics.moments import JointMoments as Sums
from raycv.statistics.moments import covariance, mean, variance

UnitNames = Mapping[Member, Sequence[str]]  # of layers whose units have names
LEAST_SAMPLES = 4  # for Song's estimator


class Tested(Protocol):
    """What is kept beside moments; see `raycv.comparing.tested.TestedSamples`. ``norms``: None where there are none."""

    @property
    def norms(self) -> NormSums | None:
        """The sums for unbiased CKA."""

    def draws(self, a: str, b: str, left_out: Mapping[str, np.ndarray], *, seed: int) -> list[Draws]:
        """Of the units of member ``a``, with chance in the place of those of ``b``."""


class _MemberPair:
    """Two members of one group, a's units against b's."""

    def __init__(self, of: _Group, a: int, b: int) -> None:
        self.a, self.b = of.members[a], of.members[b]
        self._of, self._at = of, (a, b)

    @property
    def about(self) -> dict[str, str]:
        """The columns that say what is compared."""
        return {"net_a": self.a.net, "layer_a": self.a.layer, "net_b": self.b.net, "layer_b": self.b.layer}

    @property
    def cross(self) -> Floats:
        """Correlations (S_a, S_b), NaN where a unit is dead or rare. Not kept, as there may be many pairs."""
        return self._of.correlation(*self._at)

    @property
    def within(self) -> tuple[Floats, Floats]:
        """Correlations among the units of a (S_a, S_a), and of b."""
        a, b = self._at
        return self._of.correlation(a, a), self._of.correlation(b, b)

    @cached_property
    def partners(self) -> Partners:
        """The partner of every unit of a, tested against chance in the place of b's units."""
        return partners(
            self.cross,
            self._of.spread(self._at[1]),
            chance=self._of.draws(*self._at, self._seed),
            seed=self._seed,
            device="cpu",
        )

    @property
    def _seed(self) -> int:
        return int(np.random.SeedSequence(self._at).generate_state(1)[0])

    @property
    def covariances(self) -> Covariances:
        """Of all units that vary."""
        return self._of.covariances(*self._at)

    @cached_property
    def same_index(self) -> SameIndex:
        """How many units of a have the unit of b with their own index for a partner."""
        cross = np.abs(self.cross)
        return same_index(semi_matching(cross).columns, ~np.isnan(cross).all(0))

    def stability(self, *, signed: bool) -> Stability | None:
        """How stable the partners of a's units are; None where all samples are one fold."""
        found = stabilities(self._of.halves, self._of.left_out, *self._at, signed=signed)
        return found[0] if found else None

    @cached_property
    def stable(self) -> Stability | None:
        """The same of partners without sign."""
        return self.stability(signed=False)

    @property
    def unbiased_cka(self) -> float:
        """Linear CKA without bias: of independent samples by Song's estimator, of positions of images from folds."""
        return self._of.unbiased_cka(*self._at)


class _Group:
    """Members that are compared with each other, and their moments."""

    def __init__(
        self, members: list[Member], moments: Moments, tested: Tested | None, unit_names: UnitNames, keep_rare: bool
    ) -> None:
        self.members, self._tested = members, tested
        self.statistics = replace(moments.statistics, keep_rare=keep_rare)
        self._unit_names = unit_names
        self.left_out = self.statistics.left_out()
        self.sums = self.statistics.together
        self.halves = halves(self.statistics)

    def correlation(self, a: int, b: int) -> Floats:
        found: Floats = correlation_of(self.sums, self.left_out, a, b)
        return found

    def spread(self, a: int) -> Floats:
        """Covariances (S_a, S_a) of a's units, NaN where a unit is dead or rare."""
        found: Floats = covariance(self.sums, a, a)
        left_out = np.isnan(np.diagonal(self.correlation(a, a)))
        found[left_out] = found[:, left_out] = np.nan
        return found

    def draws(self, a: int, b: int, seed: int) -> list[Draws] | None:
        """What a's units are tested against beside rotations of b's; None where nothing was kept for it."""
        left_out = np.split(self.left_out, np.cumsum(self.sums.widths)[:-1])
        names = [str(member) for member in self.members]
        if self._tested is None:
            return None
        return self._tested.draws(names[a], names[b], dict(zip(names, left_out, strict=True)), seed=seed)

    def covariances(self, a: int, b: int) -> Covariances:
        return Covariances.of(*(covariance(self.sums, *pair) for pair in ((a, a), (a, b), (b, b))))

    def unbiased_cka(self, a: int, b: int) -> float:
        norms = self._tested.norms if self._tested else None
        if norms is not None and norms.count >= LEAST_SAMPLES:
            means = np.split(mean(self.sums), np.cumsum(self.sums.widths)[:-1])
            within = [covariance(self.sums, *pair) for pair in ((a, a), (a, b), (b, b))]
            return debiased_cka(Covariances.of(*within), norms.count, norms.of_pair(a, b, means, within))
        folds = [fold for fold in self.statistics.folds if fold.count > 1]
        if len(folds) < 2:
            return float("nan")

        def unbiased(fold: Sums) -> Covariances:
            n = float(fold.count)
            return Covariances(*(covariance(fold, *pair) * (n / (n - 1)) for pair in ((a, a), (a, b), (b, b))))

        return cross_fold_cka(unbiased(fold) for fold in folds)

    @cached_property
    def pairs(self) -> list[_MemberPair]:
        """All ordered pairs of members of different networks."""
        numbers = permutations(range(len(self.members)), 2)
        return [_MemberPair(self, a, b) for a, b in numbers if self.members[a].net != self.members[b].net]

    def mutual(self, net_a: str, net_b: str) -> pd.DataFrame:
        """The units of two networks that are each other's best partner among those of all layers."""
        a, b = ([n for n, member in enumerate(self.members) if member.net == net] for net in (net_a, net_b))
        cross = np.block([[self.correlation(row, column) for column in b] for row in a])
        there, back = semi_matching(cross), semi_matching(cross.T).columns
        rows = np.flatnonzero((there.columns >= 0) & (back[there.columns] == np.arange(len(cross))))
        sides = ((net_a, "a", a, rows), (net_b, "b", b, there.columns[rows]))
        columns: dict[str, Any] = {}
        for net, side, numbers, units in sides:
            layers = np.repeat([self.members[n].layer for n in numbers], self.sums.widths[numbers])
            within = np.concatenate([np.arange(width) for width in self.sums.widths[numbers]])
            columns |= {f"net_{side}": net, f"layer_{side}": layers[units], f"unit_{side}": within[units]}
        return pd.DataFrame(columns | {"value": there.values[rows]})

    def _names(self, member: Member, width: int) -> np.ndarray:
        """(S,): the units' own names; None where they have none."""
        return np.array(self._unit_names.get(member, (None,) * width), dtype=object)

    def units(self) -> pd.DataFrame:
        m, widths = self.sums, self.sums.widths
        return pd.DataFrame(
            {
                "net": np.repeat([member.net for member in self.members], widths),
                "layer": np.repeat([member.layer for member in self.members], widths),
                "unit": np.concatenate([np.arange(width) for width in widths]),
                "unit_name": np.concatenate([self._names(m, w) for m, w in zip(self.members, widths, strict=True)]),
                "mean": mean(m),
                "std": np.sqrt(variance(m)),
                "active_fraction": m.active / m.count,
                "is_dead": self.statistics.dead(),
                "is_rare": self.statistics.rare(),
                "samples": int(m.count),
            }
        )


class Comparison:
    """Networks compared by `raycv.compare`. Tables are computed when they are first asked for.

    In every table net_a, layer_a, unit_a are compared with net_b, layer_b, unit_b; every pair of networks is there
    both ways; a mapping predicts target units from source units. Dead units and rare ones keep their rows and numbers
    and have no partner: units that are constant once some eighth of the images is left out, or then have less than a
    fifth of their variance, if there are 64 samples.
    ``left_out``: by NET/LAYER why a module that ran is not compared, as one without an axis that counts images.
    ``control``: the comparison of what was given as control, if anything.

    >>> import numpy as np, raycv
    >>> x = np.random.default_rng(0).standard_normal((800, 20))
    >>> found = raycv.compare({"a": x, "b": x[:, ::-1]})
    >>> found
    Comparison of a/activations, b/activations in 800 samples
    >>> found.correlation("a/activations", "b/activations").shape
    (20, 20)
    >>> found.matching("bipartite").query("net_a == 'a'")["unit_b"].tolist()[:3]
    [19, 18, 17]
    >>> found.mapping([0.001]).round(2)[["source_net", "r2", "units_used"]].values.tolist()
    [['a', 1.0, 1.0], ['b', 1.0, 1.0]]
    >>> found.clusters(k=20).query("unit == 0 and net == 'a' or unit == 19 and net == 'b'")["cluster"].nunique()
    1
    >>> found.units().columns.tolist()[3:]
    ['unit_name', 'mean', 'std', 'active_fraction', 'is_dead', 'is_rare', 'samples']
    """

    def __init__(
        self,
        compared: Sequence[tuple[list[Member], Moments, Tested | None]],
        unit_names: UnitNames | None = None,
        left_out: Mapping[str, str] | None = None,
        keep_rare: bool = False,
    ) -> None:
        self._groups = [_Group(*of_group, unit_names or {}, keep_rare) for of_group in compared]
        self.left_out = dict(left_out or {})
        self.moments = {str(member): moments for members, moments, _ in compared for member in members}
        self.control: Comparison | None = None

    def __repr__(self) -> str:
        counts = sorted({moments.samples for moments in self.moments.values()})
        samples = " to ".join(f"{count:,}" for count in dict.fromkeys((counts[0], counts[-1])))
        about = f"Comparison of {', '.join(self.moments)} in {samples} samples{self._without}"
        about += ", with a control" if self.control else ""
        shared = self.shared_origin
        return f"{about}\n{shared}" if shared else about

    @property
    def _without(self) -> str:
        """How many units take no part, if any."""
        dead = np.concatenate([group.statistics.dead() for group in self._groups])
        left_out = np.concatenate([group.left_out for group in self._groups])
        units, counts = len(dead), {"dead": int(dead.sum()), "rare": int((left_out & ~dead).sum())}
        named = " and ".join(f"{count:,} {kind}" for kind, count in counts.items() if count)
        return f", without {named} of {units:,} units" if named else ""

    @cached_property
    def shared_origin(self) -> str:
        """Which networks seem to share their first weights, in one sentence; empty where none do.

        From the share of units whose best partner has their own index, see ``alignment``, in layers of the same name,
        or in all layers that were compared where none share a name.

        >>> import numpy as np, raycv
        >>> first = np.random.default_rng(0).standard_normal((800, 20))
        >>> noise = np.random.default_rng(1).standard_normal((800, 20))
        >>> found = raycv.compare({"snapshot": first, "later": first + noise})
        >>> found.shared_origin.split(":")[0]
        'snapshot and later seem to share their first weights'
        """
        named = [pair for pair in self._pairs if pair.a.layer == pair.b.layer]
        rows = [
            {"net_a": pair.a.net, "net_b": pair.b.net, "layer": pair.a.layer}
            | dict(zip(origin.COLUMNS, pair.same_index, strict=True))
            for pair in named or self._pairs
        ]
        return origin.shared_origin(pd.DataFrame(rows)) if rows else ""

    @property
    def samples(self) -> int:
        """How many samples the layers have; each position of an image is one.

        Raises UserError where layers differ; ``units()`` has the number for each.
        """
        counts = {str(group.members[0]): int(group.sums.count) for group in self._groups}
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
        """Pearson correlations (S_a, S_b) of the units of two layers, each named as NET/LAYER; NaN for dead and rare.

        Raises UserError for layers that were not compared with each other.
        """
        for group in self._groups:
            names = [str(member) for member in group.members]
            if a in names and b in names:
                return group.correlation(names.index(a), names.index(b))
        raise UserError(f"{a!r} and {b!r} were not compared; there are {', '.join(map(str, self.members))}.")

    def units(self) -> pd.DataFrame:
        """Mean, deviation and active fraction of every unit, whether it takes part, and its layer's samples.

        unit_name: the column of a table that the unit was recorded in; missing where there is none.
        """
        return pd.concat([group.units() for group in self._groups], ignore_index=True)

    def matching(self, method: str = "semi", *, signed: bool = False) -> pd.DataFrame:
        """The partner in b of every unit of a, by correlation (paper, section 3.1).

        "semi" takes the best for each unit, "bipartite" pairs units one to one. The best is the one of largest absolute
        correlation, or with ``signed`` of largest correlation, as in the paper; for units after a ReLU these are
        mostly the same. value: the correlation with it; sign: -1 or 1, and 0 where there is none, where unit_b is -1.

        "semi" also says how sure the partner is: partner_stability, the share of four splits of the samples (one in
        wide layers) whose halves name the same one, and heldout_value, the correlation in the half that did not name
        it; without ``signed`` negative where it changes its sign. Both are NaN where all samples are one fold.

        "semi" without ``signed`` also says how far the partner is above randomly rotated units of b, which have no
        sign (`raycv.analysis.nulls`): rotated_value and excess (of the absolute correlation); p_value, how often chance
        gives as much, the largest of what units of b mixed and whole images shuffled give (`raycv.analysis.partners`),
        and q_value, the false discovery rate at which the partner counts. Both are NaN after compare="all" on Ray.
        Raises UserError for another method.
        """
        methods = {"semi": semi_matching, "bipartite": bipartite_matching}
        if method not in methods:
            raise UserError(f"There is no method {method!r}; allowed are {', '.join(methods)}.")

        def rows(pair: _MemberPair) -> dict[str, Any]:
            units = methods[method](pair.cross if signed else np.abs(pair.cross)).columns
            tested = pair.partners if method == "semi" and not signed else None
            stable = (pair.stability(signed=True) if signed else pair.stable) if method == "semi" else None
            return _matched(pair.cross, units, tested) | (_stable(stable) if method == "semi" else {})

        return self._rows(rows)

    def alignment(self, columns: Sequence[str] | None = None) -> pd.DataFrame:
        """One row per pair of layers: how alike their units are, and their subspaces.

        mean: the mean correlation of each unit with its best partner; mean_absolute: of absolute values; rotated_mean:
        the same after random rotations of b's units, excess: the difference; beyond_chance: the fraction of units with
        a partner at a false discovery rate of 5%; linear_cka: of the two layers as wholes, which is too large where
        samples are not many more than units; unbiased_cka: without that, may be a little below 0; partner_stability and
        heldout_mean: of best partners, means of these columns of ``matching``; same_index: the
        fraction of units whose best partner has their own index, as in networks that share their first weights, with
        same_index_chance and same_index_p_value for units of b in any order (`raycv.analysis.origin`).

        With a control its values stand behind as control_mean and so on, NaN where it lacks a layer.

        ``columns``: which of these; None means all. Those that need no rotations are much faster. Raises UserError for
        others.

        >>> import numpy as np, raycv
        >>> x = np.random.default_rng(0).standard_normal((800, 20))
        >>> found = raycv.compare({"a": x, "b": x[:, ::-1]})
        >>> found.alignment(["mean", "linear_cka"]).round(3)[["net_a", "net_b", "mean", "linear_cka"]].values.tolist()
        [['a', 'b', 1.0, 1.0], ['b', 'a', 1.0, 1.0]]
        """
        chosen = list(AVERAGES) if columns is None else list(columns)
        for column in chosen:
            _check_average(column)
        rows = self._rows(lambda pair: {column: [AVERAGES[column](pair)] for column in chosen})
        return rows if self.control is None else beside(rows, self.control.alignment(chosen))

    def mapping(self, decays: Sequence[float] = DECAYS) -> pd.DataFrame:
        """How well a sparse mapping layer predicts target units from source units (paper, section 4), by L1 decay.

        source_net, source_layer, target_net, target_layer: every pair of networks both ways. loss: half the mean
        squared error of z-scores, 0.5 for predicting nothing; r2 = 1 - 2 loss; units_used: source units per target
        unit. Fitted on all samples by the exact LASSO, so small numbers of samples flatter small decays.
        """
        return self._mappings(decays).rename(columns=dict(zip(PAIR, PREDICTED, strict=True)))

    def _mappings(self, decays: Sequence[float]) -> pd.DataFrame:
        rows = self._rows(lambda pair: _mapped(pair, decays))
        return rows if self.control is None else beside(rows, self.control._mappings(decays))

    def measures(self) -> pd.DataFrame:
        """Published measures of similarity of every two layers, as in a run's table ``measures``.

        measure, value: linear_cka, debiased_cka (linear CKA without bias, from folds), mean_cca, svcca, pwcca and
        regression_r2 (both ways), procrustes_distance, angular_distance, permutation_procrustes_distance,
        hard_correlation_match, soft_correlation_match, soft_matching_distance, partial_matching_score and its mass, and
        of each layer alone effective_dimension; low, high: 95% jackknife over folds of the samples, NaN where that
        takes long; chance: after rotations, of those that match units, NaN for others, which a ``control`` can tell
        (control_value). See `raycv.stages.align.measures`.

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
                for one in measured(group.statistics, a, b) if both[0].net != both[1].net else ():
                    (net_a, layer_a), (net_b, layer_b) = both[one.a], both[one.b]
                    about = {"net_a": net_a, "layer_a": layer_a, "net_b": net_b, "layer_b": layer_b}
                    ends = {"low": one.interval.low, "high": one.interval.high, "chance": one.chance}
                    rows.append(about | {"measure": one.measure, "value": one.value} | ends)
        found = pd.DataFrame(rows).drop_duplicates([*PAIR, "measure"], ignore_index=True)  # dimensions of one layer
        return found if self.control is None else beside(found, self.control.measures()[[*PAIR, "measure", "value"]])

    def clusters(self, k: int | None = None) -> pd.DataFrame:
        """Clusters of the units of every two layers together (paper, section 5): cluster -1 for units without an edge.

        ``k``: how many; None means in proportion to the units, as the paper's. Both ways are the same, so each two are
        there once. Raises `raycv.analysis.infeasible.Infeasible` for a k that the graph does not allow.
        """
        once = {frozenset((pair.a, pair.b)): pair for pair in reversed(self._pairs)}
        return pd.concat([_clustered(pair, k) for pair in reversed(once.values())], ignore_index=True)

    def nearest_layers(self, by: str = "unbiased_cka") -> pd.DataFrame:
        """For every layer and other network, the layer there that is most like it, by a column of ``alignment``.

        Useful after compare="all". A layer without a live unit has none and is left out. Raises UserError for another
        column.

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
        """The share of layers whose nearest layer in another network is the one of their own name.

        The layer identification test between networks of one architecture (Kornblith et al., 2019, section 6.1), after
        compare="all": net_a, net_b; layers, how many of net_a have a namesake in net_b; accuracy, the share of these
        that find it. ``by``: as in ``nearest_layers``. Raises UserError for another column, and where no two layers
        have the same name.

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
        """Units of two networks that are each other's best partner, by correlation, among the units of *all* layers.

        After compare="all", one of any layer; otherwise of the layers compared with each other. Columns net_a, layer_a,
        unit_a, net_b, layer_b, unit_b and value, the correlation; each pair is there once.

        >>> import numpy as np, raycv
        >>> x = np.random.default_rng(0).standard_normal((800, 20))
        >>> one, other = {"low": x[:, :10], "high": x[:, 10:]}, {"start": x[:, 12:8:-1], "end": x[:, :2]}
        >>> pairs = raycv.compare({"a": one, "b": other}, compare="all").mutual_partners()
        >>> pairs[["layer_a", "unit_a", "layer_b", "unit_b"]].values.tolist()[-3:]
        [['high', 0, 'start', 2], ['high', 1, 'start', 1], ['high', 2, 'start', 0]]
        """
        tables = []
        for group in self._groups:
            nets = dict.fromkeys(member.net for member in group.members)
            tables += [group.mutual(net_a, net_b) for net_a, net_b in combinations(nets, 2)]
        return pd.concat(tables, ignore_index=True)

    def table(self, name: str) -> pd.DataFrame:
        """A table by its name in a run: units, matchings, alignment, measures, mappings or cluster_members."""
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

    @property
    def _pairs(self) -> list[_MemberPair]:
        return [pair for group in self._groups for pair in group.pairs]

    def _rows(self, rows: Callable[[_MemberPair], dict[str, Any]]) -> pd.DataFrame:
        return pd.concat([pd.DataFrame(pair.about | rows(pair)) for pair in self._pairs], ignore_index=True)


PAIR = ["net_a", "layer_a", "net_b", "layer_b"]
PREDICTED = ["source_net", "source_layer", "target_net", "target_layer"]  # the same where b is predicted from a


def beside(rows: pd.DataFrame, control: pd.DataFrame) -> pd.DataFrame:
    """``rows`` with the values of ``control`` of the same layers, decays and measures behind, as control_NAME."""
    keys = [*PAIR, *(name for name in ("decay", "measure") if name in rows)]
    return rows.merge(control.rename(columns=lambda name: name if name in keys else f"control_{name}"), "left", keys)


def _matched(cross: Floats, units: np.ndarray, tested: Partners | None) -> dict[str, Any]:
    """The columns of a matching: of ``units`` (S_a,), the partners, and of what was tested, which are the same ones."""
    values = np.where(units < 0, np.nan, cross[np.arange(len(cross)), units])
    sign = np.nan_to_num(np.sign(values)).astype(np.int64)
    columns = {"unit_a": np.arange(len(units)), "unit_b": units, "value": values, "sign": sign}
    if tested is None:
        return columns
    return columns | {
        "rotated_value": tested.whole.unit_mean,
        "excess": tested.excess,
        "p_value": tested.p_values,
        "q_value": tested.q_values,
    }


def _stable(found: Stability | None) -> dict[str, Any]:
    return {
        "partner_stability": found.same if found else np.nan,
        "heldout_value": found.heldout if found else np.nan,
    }


# Columns of ``alignment``. Those from rotated_mean to beyond_chance need rotations.
AVERAGES: dict[str, Callable[[_MemberPair], float]] = {
    "mean": lambda pair: mean_of(semi_matching(pair.cross).values),
    "mean_absolute": lambda pair: mean_of(best_correlation(pair.cross)),
    "rotated_mean": lambda pair: pair.partners.whole.mean,
    "excess": lambda pair: mean_of(pair.partners.excess),
    "beyond_chance": lambda pair: mean_of(np.where(pair.partners.columns < 0, np.nan, pair.partners.found())),
    "linear_cka": lambda pair: linear_cka(pair.covariances),
    "unbiased_cka": lambda pair: pair.unbiased_cka,
    "partner_stability": lambda pair: mean_of(pair.stable.same) if pair.stable else math.nan,
    "heldout_mean": lambda pair: mean_of(pair.stable.heldout) if pair.stable else math.nan,
    "same_index": lambda pair: pair.same_index.share,
    "same_index_chance": lambda pair: pair.same_index.chance,
    "same_index_p_value": lambda pair: pair.same_index.p_value,
}


def _check_average(column: str) -> None:
    if column not in AVERAGES:
        raise UserError(f"There is no column {column!r}; allowed are {', '.join(AVERAGES)}.")


def _mapped(pair: _MemberPair, decays: Sequence[float]) -> dict[str, Any]:
    path = lasso_path(pair.within[0], pair.cross, decays)
    return {
        "decay": list(decays),
        "loss": [layer.loss for layer in path],
        "r2": [layer.r2 for layer in path],
        "units_used": [layer.units_used() for layer in path],
    }


def _clustered(pair: _MemberPair, k: int | None) -> pd.DataFrame:
    a, b = pair.within
    found = spectral_clusters(np.block([[a, pair.cross], [pair.cross.T, b]]), len(a), k, threshold=THRESHOLD)
    about = pair.about | {"k": found.k}
    sides = ((pair.a.net, pair.a.layer, len(a)), (pair.b.net, pair.b.layer, len(b)))
    rows = pd.concat([pd.DataFrame({"net": net, "layer": layer, "unit": range(units)}) for net, layer, units in sides])
    return rows.assign(**about, cluster=found.labels)[[*about, "net", "layer", "unit", "cluster"]]
