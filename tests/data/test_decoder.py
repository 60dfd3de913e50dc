"""Images decoded by threads or processes are those of the source, and processes end with the one that began them."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest
from PIL import Image

from raycv.data.decoder import THREADS, TOGETHER, Decoder, joined
from raycv.data.decoder_process import DecoderProcess
from raycv.data.preprocessing import Resize
from raycv.data.sources import Source, open_source
from raycv.errors import StageFailed, UserError

SIZE = Resize(24)
COUNT = 3 * TOGETHER + 7


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tree")
    noise = np.random.default_rng(0)
    for split in ("train", "validation"):
        for label in range(2):
            place = folder / split / f"class{label}"
            place.mkdir(parents=True)
            for n in range(20):
                pixels = noise.integers(0, 256, (24 if n % 2 else 31, 24, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(place / f"{n:02d}.{'jpg' if n % 4 else 'png'}")
    return folder


@pytest.fixture(params=[1, THREADS, THREADS + 1], ids=["a thread", "threads", "processes"])
def decoder(request: pytest.FixtureRequest, tree: Path) -> Iterator[Decoder]:
    found = Decoder(open_source(str(tree), "train"), request.param)
    yield found
    found.close()


def source_of(tree: Path) -> Source:
    return open_source(str(tree), "train")


@pytest.mark.parametrize("exact", [True, False])
def test_images_come_in_the_order_asked_for(tree: Path, decoder: Decoder, exact: bool) -> None:
    numbers = np.random.default_rng(1).integers(0, 40, COUNT)
    expected = source_of(tree).decode(numbers, SIZE, exact=exact)
    found = joined(decoder.begin(numbers, SIZE, exact=exact))
    for of_source, of_decoder in zip(expected, found, strict=True):
        np.testing.assert_array_equal(of_decoder, of_source)
    in_parts = np.concatenate([labels for _, labels in decoder.in_parts(numbers, SIZE)])
    np.testing.assert_array_equal(in_parts, found[1])


def test_what_is_left_does_not_disturb_what_follows(tree: Path, decoder: Decoder) -> None:
    numbers = np.arange(40).repeat(20)
    for part in decoder.begin(numbers, SIZE):
        part.cancel()
    images, labels = joined(decoder.begin(numbers[::-1], SIZE))
    expected, and_labels = source_of(tree).decode(numbers[::-1], SIZE)
    np.testing.assert_array_equal(images, expected)
    np.testing.assert_array_equal(labels, and_labels)


def test_a_corrupt_image_is_named(tree: Path, decoder: Decoder) -> None:
    path = tree / "train/class1/03.jpg"
    content = path.read_bytes()
    path.write_bytes(content[:40])
    try:
        with pytest.raises(UserError, match=r"class1/03.jpg is corrupt"):
            joined(decoder.begin(np.arange(40), SIZE))
    finally:
        path.write_bytes(content)
    assert len(joined(decoder.begin(np.arange(40), SIZE))[0]) == 40


# Without a guard of its main module, as a user may write it.
BEGIN = """
import sys, time
import numpy as np
from raycv.data.decoder import Decoder, joined
from raycv.data.preprocessing import Resize
from raycv.data.sources import open_source

decoder = Decoder(open_source(sys.argv[1], "train"), int(sys.argv[2]))
print(len(joined(decoder.begin(np.arange(40).repeat(20), Resize(24)))[0]), flush=True)
time.sleep(600)
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_processes_end_with_the_one_that_began_them(tree: Path, tmp_path: Path, how: signal.Signals) -> None:
    script = tmp_path / "begin.py"
    script.write_text(BEGIN)
    command = [sys.executable, str(script), str(tree), str(THREADS + 1)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        try:
            assert parent.stdout is not None
            assert parent.stdout.readline().strip() == "800"
            children = psutil.Process(parent.pid).children(recursive=True)
            assert children
            parent.send_signal(how)
            parent.wait(timeout=30)
        finally:
            parent.kill()
    _, alive = psutil.wait_procs(children, timeout=30)
    assert not alive


def test_a_process_that_dies_is_replaced(tree: Path) -> None:
    decoder, numbers = Decoder(source_of(tree), THREADS + 1), np.arange(40).repeat(20)
    expected = joined(decoder.begin(numbers, SIZE))[0]
    for reader in (decoder.readers.get() for _ in range(2)):
        assert isinstance(reader, DecoderProcess)
        if reader.process is not None:
            reader.process.kill()
        decoder.readers.put(reader)
    np.testing.assert_array_equal(joined(decoder.begin(numbers, SIZE))[0], expected)


def test_processes_that_die_again_and_again_are_given_up(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(StageFailed, match="died 3 times, most likely for lack of memory"):
        DecoderProcess(source_of(tree)).decode(np.arange(4), SIZE)


def test_processes_end_with_the_decoder(tree: Path) -> None:
    others = psutil.Process().children()  # such as a cluster that an earlier test has started
    decoder = Decoder(source_of(tree), THREADS + 1)
    joined(decoder.begin(np.arange(40).repeat(20), SIZE))
    children = [child for child in psutil.Process().children() if child not in others]
    assert children
    decoder.close()
    del decoder
    _, alive = psutil.wait_procs(children, timeout=30)
    assert not alive
