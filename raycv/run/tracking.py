"""What training and sweeps tell a tracker of experiments as they go on, where the user asks for one.

A tracker only looks on: one that fails on the way is said once and not told any more, and the stage goes on.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol

import pandas as pd

from raycv.errors import UserError
from raycv.extras import needed
from raycv.progress import say
from raycv.run.store import RunStore

Kind = Literal["tensorboard", "mlflow", "wandb"]
FOLDER = "tracking"  # of a run: TensorBoard's files, by stage and series


class Tracker(Protocol):
    """Takes numbers by series (a network, a layer) and step (an epoch, the place of a setting)."""

    def log(self, series: str, step: int, values: Mapping[str, float]) -> None:
        """Take some numbers."""

    def close(self) -> None:
        """Nothing more comes."""


def tracker(kind: Kind | None, store: RunStore, stage: str) -> Tracker:
    """The tracker for one stage of a run. Raises UserError where its package is missing or it cannot be reached."""
    if kind is None:
        return _Nobody()
    made: dict[Kind, type[TensorBoard | MLflow | Wandb]] = {
        "tensorboard": TensorBoard,
        "mlflow": MLflow,
        "wandb": Wandb,
    }
    return _Careful(kind, made[kind](store, stage))


def track_rows(told: Tracker, rows: pd.DataFrame, by: Sequence[str], setting: str, values: Sequence[str]) -> None:
    """Tell of a sweep's rows: a series for each group of ``by``, a step for each ``setting``, means of ``values``."""
    for group, of_group in rows.groupby(list(by)):
        series = "-".join(str(one) for one in group)
        settings: Any = of_group.groupby(setting)
        for step, (value, part) in enumerate(settings):
            told.log(series, step, {setting: float(value), **part[list(values)].mean().dropna().to_dict()})
    told.close()


class _Nobody:
    def log(self, series: str, step: int, values: Mapping[str, float]) -> None: ...

    def close(self) -> None: ...


class _Careful:
    """A tracker whose failures are no failures of a stage."""

    def __init__(self, kind: str, inner: Tracker) -> None:
        self._kind, self._inner = kind, inner
        self._failed = False

    def log(self, series: str, step: int, values: Mapping[str, float]) -> None:
        """Tell it, unless it has failed."""
        self._try(lambda: self._inner.log(series, step, values))

    def close(self) -> None:
        """Tell it, unless it has failed."""
        self._try(self._inner.close)

    def _try(self, action: Any) -> None:
        if self._failed:
            return
        try:
            action()
        except Exception as error:
            self._failed = True
            say(f"note: {self._kind} has failed ({type(error).__name__}) and is not told any more; the stage goes on")


class TensorBoard:
    """Event files in the run's folder, wherever it is: `tensorboard --logdir RUN/tracking`."""

    def __init__(self, store: RunStore, stage: str) -> None:
        with needed():
            from tensorboardX import SummaryWriter
        self._make, self._store, self._stage = SummaryWriter, store, stage.replace(" ", "-")
        self._told: dict[str, list[tuple[str, float, int, float]]] = {}

    def log(self, series: str, step: int, values: Mapping[str, float]) -> None:
        """Write the small file of a series anew: in a bucket nothing can be added to one.

        A writer is closed each time, as tensorboardX 2.6 writes in a thread for which its `flush` does not wait.
        """
        told = self._told.setdefault(series, [])
        told += [(name, float(value), step, time.time()) for name, value in values.items()]
        with tempfile.TemporaryDirectory() as folder:
            writer = self._make(folder)
            for one in told:
                writer.add_scalar(*one)
            writer.close()
            (file,) = Path(folder).iterdir()
            self._store.write(f"{FOLDER}/{self._stage}/{series}/events.out.tfevents.raycv", file.read_bytes())

    def close(self) -> None:
        """Everything has been written."""


class MLflow:
    """Runs of the experiment that MLFLOW_EXPERIMENT_NAME names, else the run's URI, at MLFLOW_TRACKING_URI."""

    def __init__(self, store: RunStore, stage: str) -> None:
        with needed():
            from mlflow import MlflowClient
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME") or store.uri
        try:
            self._client = MlflowClient()
            found = self._client.get_experiment_by_name(name)
            self._experiment = found.experiment_id if found else self._client.create_experiment(name)
        except Exception as error:
            raise UserError(
                f"MLflow refuses the experiment {name} ({type(error).__name__}); check MLFLOW_TRACKING_URI, or leave "
                "--track out."
            ) from error
        self._stage = stage
        self._runs: dict[str, str] = {}

    def log(self, series: str, step: int, values: Mapping[str, float]) -> None:
        """Log numbers in the run of their series."""
        if series not in self._runs:
            made = self._client.create_run(self._experiment, run_name=f"{self._stage}: {series}")
            self._runs[series] = made.info.run_id
        for name, value in values.items():
            self._client.log_metric(self._runs[series], name, value, step=step)

    def close(self) -> None:
        """End its runs."""
        for run in self._runs.values():
            self._client.set_terminated(run)


class Wandb:
    """Runs of the project that WANDB_PROJECT names, else raycv, in a group that is named after the run's URI.

    wandb finds the credentials itself. It is told numbers, nothing of the command, the code, packages and processors.
    """

    def __init__(self, store: RunStore, stage: str) -> None:
        with needed():
            import wandb
        self._wandb, self._group, self._stage = wandb, store.uri, stage
        self._runs: dict[str, Any] = {}
        if wandb.setup().settings.mode not in ("online", "run"):
            return
        try:
            known = wandb.login(prompt=False)
        except Exception as error:
            raise UserError(
                f"Weights & Biases cannot be reached, or refuses the key ({type(error).__name__}); check WANDB_API_KEY "
                "and WANDB_BASE_URL, set WANDB_MODE=offline, or leave --track out."
            ) from error
        if not known:
            raise UserError(
                "Weights & Biases has no key of yours; give it by `wandb login` or WANDB_API_KEY, set "
                "WANDB_MODE=offline, or leave --track out."
            )

    def log(self, series: str, step: int, values: Mapping[str, float]) -> None:
        """Log numbers in the run of their series."""
        if series not in self._runs:
            self._runs[series] = self._wandb.init(
                project=os.environ.get("WANDB_PROJECT") or "raycv",
                name=f"{self._stage}: {series}",
                group=self._group,
                reinit="create_new",  # beside those of the other series
                settings=self._wandb.Settings(
                    silent=True,
                    console="off",
                    disable_code=True,
                    disable_git=True,
                    x_disable_meta=True,
                    x_disable_stats=True,
                    x_save_requirements=False,
                ),
            )
        self._runs[series].log(dict(values), step=step)

    def close(self) -> None:
        """End its runs, which sends what has not been sent."""
        for run in self._runs.values():
            run.finish()
