"""For clusters on which Ray counts GPUs that are not there: workers that take the CPU for theirs."""

from __future__ import annotations

import json

# What a job hands to its workers, as `ray job submit --runtime-env-json` does.
ENVIRONMENT = {
    "RAY_JOB_CONFIG_JSON_ENV_VAR": json.dumps(
        {"runtime_env": {"worker_process_setup_hook": f"{__name__}.pretend", "env_vars": {}}}
    )
}


def pretend() -> None:
    """To be called in a worker before it does anything."""
    import torch

    from raycv import devices

    devices.found = lambda: devices.Usable("CUDA")
    devices.of_worker = lambda *, use_gpu: torch.device("cpu")  # type: ignore[assignment]
