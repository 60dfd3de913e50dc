"""Networks that later stages could not compare are refused before anything is trained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from raycv.cli import main
from raycv.config import TrainConfig
from raycv.distributed import ray_cluster
from raycv.errors import UserError
from raycv.networks.models import build
from raycv.networks.sizes import check_sizes
from raycv.networks.spec import LARGEST_SEED
from raycv.stages.train.specs import specs_of
from tests.support.commands import failing
from tests.support.runs import spec


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"seeds": (7,)}, "A comparison needs two networks and --seeds names one"),
        ({"checkpoints": ("net.pt",)}, "A comparison needs two networks and --checkpoints names one"),
        ({"width": (20_000,)}, r"net1 \(small-alexnet of width 20,000, 10 classes\) has .* billion weights.*memory"),
        ({"model": ("alexnet", "small-alexnet"), "seeds": (1, 2)}, "prepare images differently"),
        (
            {"model": ("resnet18", "alexnet"), "layers": ("conv1",), "seeds": (1, 2)},
            "prepare images differently",
        ),
        (
            {"model": ("resnet18", "squeezenet1_1"), "layers": ("layer1", "features"), "seeds": (1, 2)},
            r"no layer of the same name: net1 has layer1; net2 has features. Say with --compare .* layer1~features",
        ),
        (
            {"model": ("vgg11", "squeezenet1_1"), "layers": ("features",), "seeds": (1, 2)},
            r"Layer features has 169 positions in net2 \(squeezenet1_1\) and 49 in net1 .* same spatial extent",
        ),
    ],
    ids=["one seed", "one checkpoint", "width", "alexnets", "layers", "no layer", "positions"],
)
def test_networks_that_cannot_be_compared(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        specs_of(TrainConfig.model_validate(settings), 10)


@pytest.mark.parametrize("flag", ["--batch-size", "--workers"])
def test_more_than_there_are_images_to_share(
    flag: str, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray_cluster, "connect", None)  # it is not asked
    said = failing(capsys, "train", "--run", str(tmp_path / "run"), "--data", str(images), flag, "1000000")
    assert f"{flag} is 1,000,000, and there are 640 images to train on; allowed are 1 to 640." in said
    assert not (tmp_path / "run").exists()


def test_the_largest_seed_will_do() -> None:
    specs = specs_of(TrainConfig.model_validate({"seeds": (0, LARGEST_SEED), "width": (3,)}), 10)
    build(specs[1])
    assert [spec.seed for spec in specs] == [0, LARGEST_SEED]


def test_train_and_collect_refuse_with_the_same_words() -> None:
    pair = [spec(1, 96, model="alexnet"), spec(2, 18)]
    with pytest.raises(UserError) as refused:
        check_sizes(pair)
    with pytest.raises(UserError) as early:
        specs_of(TrainConfig.model_validate({"model": ("alexnet", "small-alexnet"), "seeds": (1, 2)}), 10)
    assert str(early.value).split(" prepare ")[1] == str(refused.value).split(" prepare ")[1]


def test_networks_that_were_lost_are_imported_again(
    images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray_cluster, "connect", lambda *_given: pytest.fail("no cluster is needed"))
    run = tmp_path / "run"
    files = [tmp_path / f"{number}.pt" for number in (1, 2)]
    for number, file in enumerate(files, 1):
        torch.save(build(spec(number, 3)).state_dict(), file)
    given = ("--run", str(run), "--data", str(images), "--width", "3")
    command = ["train", *given, "--checkpoints", ",".join(map(str, files))]
    assert main(command) == 0
    before = (run / "networks/net2/weights.safetensors").read_bytes()
    (run / "networks/net2/weights.safetensors").unlink()
    assert main(command) == 0
    assert (run / "networks/net2/weights.safetensors").read_bytes() == before
    assert main(command) == 0
    assert "already finished" in capsys.readouterr().out
    one = ("--run", str(tmp_path / "other"), "--data", str(images), "--checkpoints", str(files[0]))
    assert "names one; name two or more" in failing(capsys, "train", *one)
    assert not (tmp_path / "other").exists()
