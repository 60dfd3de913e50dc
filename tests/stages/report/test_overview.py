"""The answer of the first screen, from the averages of the table `alignment`."""

from __future__ import annotations

import numpy as np
import pandas as pd

from raycv.stages.report.overview import answer, averages, origin


def alignment(before: dict[str, tuple[float, float]], untrained: float = 0.01) -> pd.DataFrame:
    """Two ordered pairs per layer; ``before``: their excess over units mixed before the ReLU."""
    rows = [
        {
            "layer": layer,
            "similarity": similarity,
            "method": "semi",
            "mean": 0.5,
            "excess": 0.2,
            "untrained_excess": 0.1,
            "prerelu_excess": value,
            "untrained_prerelu_excess": untrained,
            "agreement": 0.5,
            "beyond_chance": 0.9,
            "untrained_beyond_chance": 0.02,
            "estimated_share": 0.95,
            "untrained_estimated_share": 0.05,
            "untrained_mean": np.nan,
            "agreement_with_correlation": 0.75,
            "partner_stability": 0.8,
            "net_a": "a",
            "net_b": "b",
            "same_index": 0.1,
            "same_index_chance": 0.05,
            "same_index_p_value": 0.01,
        }
        for layer, values in before.items()
        for value in values
        for similarity in ("correlation", "mutual_information")
    ]
    return pd.DataFrame(rows)


def test_averages_are_over_pairs_and_have_no_nan() -> None:
    (row,) = averages(alignment({"conv1": (0.1, 0.3)}))
    assert row["before"] == 0.2
    assert row["before_range"] == [0.1, 0.3]
    assert row["by_mi"] == 0.75
    assert row["correlation_untrained"] is None


def test_the_answer_names_the_layers_of_least_and_most_agreement() -> None:
    rows = averages(alignment({"conv1": (0.1, 0.3), "conv2": (0.05, 0.05), "fc8": (0.9, 0.9)}))
    assert answer(rows, "fc8", []) == (
        "In every layer, units of independently trained networks correlate with their best partner by 0.050 (conv2) to "
        "0.200 (conv1) more than with units mixed before the non-linearity; units of untrained networks by at most "
        "0.010."
    )


def test_a_layer_no_better_than_untrained_networks_does_not_count() -> None:
    rows = averages(alignment({"conv1": (0.1, 0.3), "conv2": (0.005, 0.005), "conv3": (0.1, 0.1)}))
    assert answer(rows, None, []).startswith("In 2 of 3 layers")
    nothing = averages(alignment({"conv1": (-0.1, 0.0), "conv2": (0.005, 0.005)}))
    assert (
        answer(nothing, None, [])
        == "In no layer do units of two networks correlate more, above chance, than those of untrained networks."
    )


def test_without_mixtures_before_the_relu_those_after_it_answer() -> None:
    rows = averages(alignment({"a": (np.nan, np.nan), "b": (np.nan, np.nan)}))
    said = (
        "by 0.200 (a) to 0.200 (a) more than with units mixed after the non-linearity; units of untrained networks by"
    )
    assert f"{said} at most 0.100." in answer(rows, None, [])


def test_a_run_whose_logits_do_not_match_is_not_to_be_trusted() -> None:
    rows = averages(alignment({"conv1": (0.1, 0.3)}))
    assert answer(rows, "fc8", [("net1", "net2")]).startswith("This run cannot be trusted")


def test_networks_that_share_their_first_weights_are_named_but_not_for_their_logits() -> None:
    rows = alignment({"conv1": (0.1, 0.3), "fc8": (0.9, 0.9)})
    seen = {"same_index": 0.95, "same_index_p_value": 1e-12}
    logits = rows["layer"] == "fc8"
    assert origin(rows, None) == ""
    assert origin(rows.assign(**seen).where(logits, rows), "fc8") == ""
    assert origin(rows.assign(**seen), "fc8").startswith(
        "a and b seem to share their first weights: in conv1, 95% of units"
    )


def test_intervals_over_networks_are_those_of_the_table() -> None:
    rows = [
        ("conv1", "correlation", "semi", "excess", 0.1, 0.3),
        ("conv1", "correlation", "bipartite", "agreement", 0.2, 0.4),
        ("conv1", "mutual_information", "semi", "agreement_with_correlation", 0.5, 0.7),
        ("conv1", "correlation", "semi", "mean", np.nan, np.nan),
    ]
    names = ["layer", "similarity", "method", "quantity", "networks_low", "networks_high"]
    (row,) = averages(alignment({"conv1": (0.1, 0.3)}), pd.DataFrame(rows, columns=names))
    assert row["intervals"] == {"after": [0.1, 0.3], "by_mi": [0.5, 0.7]}
