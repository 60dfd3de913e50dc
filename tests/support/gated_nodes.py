"""Nodes of Ray's own simulated autoscaler, of which all but the first wait until they are let in."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path
from typing import Any

import psutil
from ray.autoscaler._private.fake_multi_node.node_provider import FakeMultiNodeProvider
from ray.autoscaler.tags import STATUS_UP_TO_DATE, TAG_RAY_NODE_STATUS


class GatedNodes(FakeMultiNodeProvider):
    """Starts nodes as processes of this machine; all but the first once the provider's file "gate" is there."""

    def _create_node_with_resources_and_labels(self, *given: Any) -> None:
        gate = Path(self.provider_config["gate"])
        while self._next_node_id and not gate.exists():
            time.sleep(0.2)
        with self.lock:
            before = psutil.Process().children(recursive=True)
            try:
                super()._create_node_with_resources_and_labels(*given)  # type: ignore[no-untyped-call]
            except Exception:
                # Ray gives a node half a minute, which is little on a busy machine, and leaves alive what has started.
                for process in {*psutil.Process().children(recursive=True)}.difference(before):
                    with contextlib.suppress(psutil.NoSuchProcess):
                        process.kill()
                raise  # the autoscaler tries again
            # Or the first version takes a node that has gone for one that has still to come.
            self._nodes[next(reversed(self._nodes))]["tags"][TAG_RAY_NODE_STATUS] = STATUS_UP_TO_DATE
