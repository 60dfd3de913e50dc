"""`raycv.compare`: networks and recorded activations against each other, in one process."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal

from torch import nn

from raycv.comparing.batches import Batch, forwarded, read
from raycv.comparing.comparison import Comparison
from raycv.comparing.forward import on_one_grid
from raycv.comparing.members import Member, Pairing, groups
from raycv.comparing.moments import Moments
from raycv.comparing.tested import TestedSamples
from raycv.data.recorded import Recorded, recorded
from raycv.errors import UserError

Positions = Literal["same", "resample", "mean"]


def compare(
    networks: Mapping[str, Any],
    data: Iterable[Any] | None = None,
    *,
    layers: Sequence[str] | Mapping[str, Sequence[str]] | None = None,
    compare: Pairing = "same",
    positions: Positions = "same",
    run: str | None = None,
) -> Comparison:
    """Pass the same samples through all ``networks`` once and compare their units.

    ``networks``: two or more, by name. Each is a PyTorch module, which is called with the batches of ``data``, or
    recorded activations: an array (n, S) or (n, S, ...), a table (pandas, polars, Arrow, xarray), a mapping of layer
    names to such, or the path or ``s3://`` URI of a .npy, .npz, .safetensors, .parquet, .zarr, .h5 or .pt file, see
    `raycv.data.recorded`; kinds may be mixed, as long as recorded samples stand in the order of ``data``.

    ``data``: batches, each a tensor, or a tuple or mapping that holds one; a `ray.data.Dataset` by its
    ``iter_torch_batches``. Only modules need it.

    ``layers``: module paths, with ``*`` for any part of one, for all networks or by network; None means all that give
    one tensor of units. Of tokens PATH:class is the class token alone, PATH:patches the rest. ``compare``: "same",
    layers of the same name; "all", every layer of one network with every layer of the others; or a list of layers that
    belong together, one for each network in the order of ``networks``.

    ``positions``: "same" takes every position of an image as a sample, and compared layers must have as many;
    "resample" averages finer grids over the areas of the coarsest one, where tokens are a square of patches, see
    `raycv.networks.tokens`; "mean" takes the mean over positions, one sample an image. With "all" all layers must fit.

    ``run``: a folder or ``s3://bucket/prefix``; then the comparison is a run on Ray, kept and resumed there, and the
    stages of the command line go on from it. Networks are then models by name, functions as "package.module:function",
    files of recordings, or mappings with more of each, as in the setting ``networks``; ``data`` is a set of images by
    name or path; see README.

    Returns a `Comparison`. Raises UserError for networks, layers, files or positions that do not fit, and for
    activations that are not finite.

    >>> import numpy as np
    >>> x = np.random.default_rng(0).standard_normal((800, 20))
    >>> found = compare({"a": x, "b": x[:, ::-1]})
    >>> found.matching().query("net_a == 'a'")["unit_b"].tolist()[:3]
    [19, 18, 17]
    """
    if run is not None:
        from raycv.comparing.on_ray import on_ray

        if data is not None and not isinstance(data, str):
            raise UserError(f"On Ray data is a set of images by its name or path, found {type(data).__name__}.")
        return on_ray(networks, run, data, layers, compare, positions)
    return _in_one_process(networks, data, layers, compare, positions)


def _in_one_process(
    networks: Mapping[str, Any], data: Any, layers: Any, pairing: Pairing, positions: Positions
) -> Comparison:
    if len(networks) < 2:
        raise UserError(f"There is nothing to compare: {len(networks)} networks were given; give two or more.")
    modules = {name: net for name, net in networks.items() if isinstance(net, nn.Module)}
    files = [recorded(name, given) for name, given in networks.items() if name not in modules]
    names = {Member(file.name, layer): units for file in files for layer, units in file.unit_names.items()}
    return Comparison(_compared(_batches(modules, files, data, layers), list(networks), pairing, positions), names)


def _compared(
    batches: Iterator[Batch], nets: list[str], pairing: Pairing, positions: Positions
) -> list[tuple[list[Member], Moments, TestedSamples]]:
    """What is kept of all batches, in this process."""
    compared: list[tuple[list[Member], Moments, TestedSamples]] = []
    for ids, activations in batches:
        if not compared:
            found = groups(nets, list(activations), pairing)
            compared = [(members, Moments(), TestedSamples()) for members in found]
        for members, moments, tested in compared:
            chosen = on_one_grid({str(member): activations[member] for member in members}, positions)
            try:
                moments.update(ids, **chosen)
                tested.update(chosen)
            except ValueError as error:
                raise UserError(f"The networks cannot be compared: {error}.") from None
    if not compared:
        raise UserError("There is nothing to compare: data gave no batch.")
    if compared[0][1].samples < 2:
        raise UserError("There is nothing to compare: a correlation needs two samples or more, and there is one.")
    return compared


def _batches(modules: Mapping[str, nn.Module], files: list[Recorded], data: Any, layers: Any) -> Iterator[Batch]:
    """The activations of all networks in the same samples."""
    if modules and data is None:
        raise UserError(f"The network {next(iter(modules))} needs data: give batches of images as data.")
    if data is not None and not modules:
        raise UserError("There is no network to pass data through: recorded activations need none.")
    networks = [*modules, *(file.name for file in files)]
    patterns = layers if isinstance(layers, Mapping) else dict.fromkeys(networks, layers)
    return forwarded(modules, files, data, patterns) if modules else read(files, patterns)
