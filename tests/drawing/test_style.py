"""The page that all figures share."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from raycv.drawing.style import WIDTH, counted, ends, page, png
from raycv.drawing.texts import CAPTION, PICTURES, TITLE


def test_long_titles_and_captions_stay_on_the_page() -> None:
    words = " ".join(["features.12.convolution"] * 12)
    figure = page(3.0, words, words)
    axes = figure.subplots()
    figure.draw_without_rendering()
    paper = figure.bbox
    for text in (figure.get_suptitle(), figure.get_supxlabel()):
        assert text.replace("\n", " ") == words
    for artist in figure.texts:
        box = artist.get_window_extent()
        assert box.x0 >= paper.x0
        assert box.x1 <= paper.x1
        assert not box.overlaps(axes.get_window_extent())
    assert figure.get_figwidth() == WIDTH


def test_words_with_hyphens_stay_whole() -> None:
    words = " ".join(["semi-matching"] * 40)
    figure = page(3.0, words, words)
    assert figure.get_supxlabel().split() == figure.get_suptitle().split() == words.split()


def test_counted() -> None:
    assert [counted(n, "unit") for n in (0, 1, 2)] == ["0 units", "1 unit", "2 units"]


def test_ends() -> None:
    assert ends({"conv1": 0.7, "conv2": 0.25, "conv3": 0.5}, ".0%") == "25% (conv2) to 70% (conv1)"
    assert ends({"conv1": 0.7}, ".2f") == "0.70 (conv1)"


def test_a_png_says_whether_it_holds_pictures_in_colours() -> None:
    """Drawings can be shown on a dark ground, patches and filters cannot."""
    texts = []
    for image in (np.zeros((4, 4)), np.zeros((4, 4, 4)), np.zeros((4, 4, 3))):
        figure = page(2.0, "title", "caption")
        figure.subplots().imshow(image)
        with Image.open(io.BytesIO(png(figure))) as picture:
            picture.load()
            known = {name: picture.info[name] for name in (TITLE, CAPTION, PICTURES) if name in picture.info}
            texts.append(known)
    drawing = {TITLE: "title", CAPTION: "caption"}
    assert texts == [drawing, drawing, drawing | {PICTURES: "yes"}]
