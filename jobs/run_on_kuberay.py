"""All stages of a run, as the entry point of kuberay/rayjob.yaml, with `jobs/run.py`'s arguments.

KubeRay starts a new cluster for every retry of a job that fails, whatever its exit code. So what would fail in the same
way again (2: a mistake in the settings, or a bucket that cannot be reached) and what is done (3: the health check
failed) ends with 0 here; the log and `raycv status` say what happened. Everything else keeps its exit code and is tried
again.
"""

import sys

from raycv.cli import main

FINAL = (2, 3)

code = main(["run", *sys.argv[1:]])
sys.exit(0 if code in FINAL else code)
