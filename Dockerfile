# The image of all nodes of a Ray cluster on Kubernetes: `docker build --tag raycv:0.1.0 .` in this folder.
FROM python:3.12-slim

# KubeRay starts Ray by bash and looks at its health by wget; Ray looks at its processes by ps.
RUN apt-get update && apt-get install --yes --no-install-recommends bash procps wget && rm -rf /var/lib/apt/lists/*
RUN useradd --create-home --uid 1000 ray

WORKDIR /home/ray/raycv
# What raycv needs comes first, in a layer that no change of raycv's code replaces. PyTorch brings the CUDA libraries; a node
# needs the driver and the device plugin alone.
COPY constraints.txt pyproject.toml ./
RUN python -c 'import tomllib; project = tomllib.load(open("pyproject.toml", "rb"))["project"]; \
    extras = project["optional-dependencies"]; needed = project["dependencies"] + extras["analysis"] + extras["run"]; \
    print(*[one for one in needed if not one.startswith("raycv")], sep="\n")' > /tmp/needed.txt && pip install --no-cache-dir --constraint constraints.txt --requirement /tmp/needed.txt
COPY LICENSE README.md setup.py ./
COPY raycv raycv
COPY packages packages
RUN pip install --no-cache-dir --no-deps . ./packages/raycv-images ./packages/raycv-texts
COPY jobs jobs

USER 1000
