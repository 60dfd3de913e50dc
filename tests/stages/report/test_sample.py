"""The activations in sampled images, packed into bytes, in the order in which the images were drawn."""

from __future__ import annotations

import base64

import numpy as np
import pandas as pd
import pytest

from raycv.stages.report.payload import LEAST_SAMPLED, MOST_SAMPLED, sample_columns, sampled_images

IMAGES = [40, 7, 99, 3, 12]  # as they were drawn


def unpacked(text: str) -> np.ndarray:
    kind, _, data = text.partition(":")
    return np.frombuffer(base64.b64decode(data), f"<{kind}")


def rows(net: str, values: np.ndarray, images: list[int], boxes: bool = True) -> pd.DataFrame:
    """Rows of sampled_activations in an order of their own; ``values`` (S, images)."""
    unit, place = np.indices(values.shape).reshape(2, -1)
    top = 0.25 * (place % 2) if boxes else 0 * place
    edges = {"top_edge": top, "left_edge": 0.0, "bottom_edge": top + 0.5 if boxes else 1.0, "right_edge": 1.0}
    about = {"net": net, "unit": unit, "image": np.array(images)[place], "value": values.ravel()}
    return pd.DataFrame(about | edges).sample(frac=1, random_state=0, ignore_index=True)


def test_activations_come_back_within_a_step_and_stand_by_image() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(4, 5)), np.maximum(rng.normal(size=(3, 5)), 0)
    a[2] = 0.5  # a unit that never changes
    frame = pd.concat([rows("a", a, IMAGES), rows("b", b[:, :3], IMAGES[:3])], ignore_index=True)
    found = sample_columns(frame, IMAGES, ["a", "recorded", "b"], [4, 9, 3])
    assert found["images"] == 3  # those that both have
    assert found["nets"][1] is None
    boxes = unpacked(found["boxes"]).reshape(-1, 4)
    for number, values in ((0, a), (2, b)):
        of_net = found["nets"][number]
        low, high = (unpacked(of_net[name]) for name in ("low", "high"))
        steps = unpacked(of_net["values"]).reshape(len(values), 3).astype(float)
        back = low[:, None] + (steps + 127) * ((high - low) / 254)[:, None]
        np.testing.assert_allclose(back, values[:, :3], atol=np.ptp(values) / 254)
        np.testing.assert_allclose(low, values[:, :3].min(axis=1), rtol=1e-6)
        framed = boxes[unpacked(of_net["box"])].reshape(len(values), 3, 4)
        assert framed[0].tolist() == [[0, 0, 500, 1000], [250, 0, 750, 1000], [0, 0, 500, 1000]]


def test_a_layer_that_sees_everything_has_no_boxes() -> None:
    found = sample_columns(rows("a", np.ones((2, 5)), IMAGES, boxes=False), IMAGES, ["a"], [2])
    assert set(found["nets"][0]) == {"low", "high", "values"}


@pytest.mark.parametrize(
    ("units", "there", "shown"),
    [
        (2608, 500, 500),
        (MOST_SAMPLED // 100, 500, 100),
        (MOST_SAMPLED // LEAST_SAMPLED + 1, 500, 0),
        (10**9, 5, 0),
        (10, 5, 5),
    ],
)
def test_the_page_has_as_many_images_as_it_has_room_for(units: int, there: int, shown: int) -> None:
    assert sampled_images({"conv": [units // 2], "fc": [units - units // 2]}, there) == shown
