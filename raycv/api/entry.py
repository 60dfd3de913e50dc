"""`raycv.compare`: networks and recorded activations against each other, in one process."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any, Literal, get_args

from torch import nn

from raycv.analysis.origin import weight_correlation
from raycv.api.batches import Batch, forwarded, length, read
from raycv.api.calling import Call
from raycv.api.collected import Collected
from raycv.api.comparison import Comparison
from raycv.api.control import Control, controls
from raycv.api.forward import Forward, on_one_grid
from raycv.api.given import in_batches, named, passing, warn_of_transposed
from raycv.api.group import Group
from raycv.api.kept import KeptMembers
from raycv.api.masks import MASK, Mask, Masks, Without, sequences
from raycv.api.members import Member, Pairing, groups
from raycv.api.tested import TestedSamples
from raycv.api.top import TopSamples
from raycv.data.recorded import recorded
from raycv.errors import UserError
from raycv.networks.borrowed import borrowed
from raycv.networks.weight_samples import sampled

Positions = Literal["same", "resample", "mean"]


def compare(
    networks: Mapping[str, Any] | Sequence[Any],
    data: Iterable[Any] | None = None,
    *,
    layers: Sequence[str] | Mapping[str, Sequence[str]] | None = None,
    compare: Pairing = "same",
    positions: Positions = "same",
    forward: Call | Mapping[str, Call] | None = None,
    unit_axis: int | Mapping[str, int] | None = None,
    mask: Mask = MASK,
    without: Sequence[Without] = (),
    control: Control | None = None,
    keep_rare: bool = False,
    progress: bool = True,
    run: str | None = None,
) -> Comparison:
    """Pass the same samples through all networks once and compare their units.

    Parameters
    ----------
    networks : mapping of str to module or recording, or sequence of these
        Two or more, by name; of a sequence files are named as they are, and others net1, net2 and so on. A PyTorch
        module is called with the batches of ``data`` and comes back as it was. A recording holds activations: an array
        (n, S) or (n, S, ...), a table (pandas, polars, Arrow, xarray), a mapping of layer names to such, or a file on
        disk or ``s3://``. Kinds may be mixed, as long as recorded samples stand in the order of ``data``.
    data : iterable of batches, optional
        What modules see; recordings alone need none. Each batch is a tensor, or a tuple or mapping, of which a network
        gets what its forward requires; a `ray.data.Dataset` gives its ``iter_torch_batches``. One tensor or array
        (n, ...) is n samples, and a `torch.utils.data.Dataset` all of its own, in order; both pass 64 at a time. Each
        batch passes once, the first twice where a forward draws random numbers.
    layers : sequence of str, or mapping of str to such, optional
        Module paths, with ``*`` for any part of one, for all networks or by network. None: all that have units, see
        `Comparison.left_out`. PATH#2 is the second call of a module, PATH:class the class token alone and PATH:patches
        the rest.
    compare : {"same", "all"} or list of sequences of str, default "same"
        "same": layers of the same name; "all": every layer of one network with every layer of the others; a list:
        layers that belong together, one for each of ``networks``.
    positions : {"same", "resample", "mean"}, default "same"
        "same" takes every position of an image as a sample, and compared layers must have as many; "resample" averages
        finer grids over the areas of the coarsest one, where tokens are a square of patches; "mean" takes the mean over
        positions, one sample an image. With "all" all layers must fit.
    forward : callable, or mapping of str to callable, optional
        How networks are called, a function of the network and a batch, for all or by network.
    unit_axis : int, or mapping of str to int, optional
        The axis of units as layers return them, for all or by layer, where it cannot be told.
    mask : str, callable or None, default "attention_mask"
        Which positions of sequences are samples: the name of a part (B, T) of each batch, 1 where a token counts and 0
        where it is padding, or a function of a batch that gives such a tensor. Without a part of the default name, and
        with None, all are. Lengths may differ from batch to batch.
    without : sequence of {"first", "special"}, default ()
        Which tokens are no samples either: the first of every sequence, an attention sink in most models, and those of
        the part "special_tokens_mask" of each batch.
    control : "untrained", or mapping of str to module or recording, optional
        What to tell chance by: the same networks with weights drawn anew, or others by the same names.
    keep_rare : bool, default False
        Whether rare units take part, which lose more than four fifths of their variance without some eighth of the
        images.
    progress : bool, default True
        Whether to say how much of the data has passed, once that takes some seconds.
    run : str, optional
        A folder or ``s3://bucket/prefix``; then the comparison is a run on Ray, kept and resumed there, and the stages
        of the command line go on from it. Networks are then models by name, functions as "package.module:function",
        files of recordings, or mappings as in the setting ``networks``; ``data`` is a set of images by name or path.

    Returns
    -------
    Comparison
        Tables are computed when they are first asked for; with ``run``, the `Run`.

    Raises
    ------
    UserError
        For what does not fit together, for activations that are not finite, and for what memory does not hold.

    Examples
    --------
    >>> import numpy as np, raycv
    >>> x = np.random.default_rng(0).standard_normal((800, 20))
    >>> found = raycv.compare({"a": x, "b": x[:, ::-1]})
    >>> found.matching().query("net_a == 'a'")["unit_b"].tolist()[:3]
    [19, 18, 17]
    """
    networks = named(networks)
    _check(networks, layers, compare, positions)
    masks = Masks(mask, without)
    if run is not None:
        _check_run(forward, unit_axis, control, is_masked=mask != MASK or bool(without))
        return _on_ray(networks, run, data, layers, compare, positions, unit_axis, keep_rare)
    data = in_batches(data)
    others = controls(networks, control, data)
    how = layers, compare, positions, forward, unit_axis, keep_rare, progress, masks
    return _beside_control(networks, others, data, *how)


def _beside_control(networks: Mapping[str, Any], others: Mapping[str, Any] | None, *how: Any) -> Comparison:
    found = _here(networks, *how)
    found.control = _here(others, *how) if others else None
    return found


def _on_ray(
    networks: Mapping[str, Any],
    run: str,
    data: Any,
    layers: Any,
    pairing: Pairing,
    positions: Positions,
    unit_axis: Any,
    keep_rare: bool,
) -> Comparison:
    from raycv.api.on_ray import on_ray

    if data is not None and not isinstance(data, str):
        raise UserError(f"On Ray data is a set of images by its name or path, found {type(data).__name__}.")
    return on_ray(networks, run, data, layers, pairing, positions, unit_axis, keep_rare=keep_rare)


def _here(
    networks: Mapping[str, Any],
    data: Any,
    layers: Any,
    pairing: Pairing,
    positions: Positions,
    forward: Call | Mapping[str, Call] | None,
    unit_axis: int | Mapping[str, int] | None,
    keep_rare: bool,
    progress: bool,
    masks: Masks,
) -> Comparison:
    """The comparison in this process."""
    modules = {name: net for name, net in networks.items() if isinstance(net, nn.Module)}
    _check_data(networks, modules, data)
    files = [recorded(name, given) for name, given in networks.items() if name not in modules]
    warn_of_transposed(files)
    patterns = layers if isinstance(layers, Mapping) else dict.fromkeys(networks, layers)
    patterns = {name: [given] if isinstance(given, str) else given for name, given in patterns.items()}
    with borrowed(modules):
        how = forward if isinstance(forward, Mapping) else dict.fromkeys(modules, forward)
        forwards = [
            Forward(name, net, patterns.get(name), how.get(name), unit_axis, positions == "mean", masks.names)
            for name, net in modules.items()
        ]
        batches = forwarded(forwards, files, data, patterns, masks) if modules else read(files, patterns)
        expected = length(data) if modules else files[0].samples
        with passing(expected, is_told=progress) as told:
            compared = _compared(told(batches), forwards, list(networks), pairing, positions, expected)
    names = {Member(file.name, layer): units for file in files for layer, units in file.unit_names.items()}
    left_out = {str(Member(f.name, layer)): why for f in forwards for layer, why in f.left_out.items()}
    samples = {name: sampled(dict(net.named_parameters())) for name, net in modules.items()}
    weights = {frozenset((a, b)): weight_correlation(samples[a], samples[b]) for a, b in combinations(samples, 2)}
    groups_found = [Group(members, kept, tested, names, keep_rare, top) for members, kept, tested, top in compared]
    return Comparison(groups_found, left_out, weights, is_across=pairing == "all")


def _compared(
    batches: Iterator[Batch],
    forwards: list[Forward],
    nets: list[str],
    pairing: Pairing,
    positions: Positions,
    expected: int | None,
) -> list[tuple[list[Member], KeptMembers, TestedSamples, TopSamples]]:
    """What is kept of all batches, for each group of members; ``expected``: how many images there are, if known."""
    compared: list[tuple[list[Member], Collected, TestedSamples, TopSamples]] = []
    for ids, activations, prefixes, before, mask in batches:
        if not compared:
            _check_layers(nets, activations, forwards)
            found = groups(nets, list(activations), pairing)
            compared = [(members, Collected(expected), TestedSamples(), TopSamples()) for members in found]
        for members, collected, tested, top in compared:
            given = {str(member): activations[member] for member in members}
            told = {str(member): prefixes[member] for member in members if member in prefixes}
            try:
                together = on_one_grid(given, positions, told, mask)
                of_sequences = sequences(together, mask)
                collected.update(ids, together, of_sequences)
                known = {str(member): before[member] for member in members if member in before}
                tested.update(together, known, of_sequences)
                top.update(ids, together, of_sequences)
            except ValueError as error:
                raise UserError(f"The networks cannot be compared: {error}.") from None
    if not compared:
        raise UserError("There is nothing to compare: data gave no batch.")
    if compared[0][1].samples < 2:
        raise UserError("There is nothing to compare: a correlation needs two samples or more, and there is one.")
    return [(members, collected.kept(), tested, top) for members, collected, tested, top in compared]


def _check_layers(nets: list[str], activations: Mapping[Member, Any], forwards: list[Forward]) -> None:
    """Raise UserError where a network has no layer at all."""
    for net in nets:
        if not any(member.net == net for member in activations):
            left_out = next(forward.left_out for forward in forwards if forward.name == net)
            why = "; ".join(f"{layer}: {reason}" for layer, reason in list(left_out.items())[:3])
            raise UserError(f"Network {net} has no layer that can be compared: {why or 'it runs no modules'}.")


def _check(networks: Mapping[str, Any], layers: Any, compare: Any, positions: Any) -> None:
    """Raise UserError for arguments of which another meaning might be taken."""
    if len(networks) < 2:
        raise UserError(f"compare needs two or more networks; found {len(networks)}.")
    if positions not in get_args(Positions):
        raise UserError(f"positions is {positions!r}; allowed are {', '.join(get_args(Positions))}.")
    if isinstance(compare, str) and compare not in ("same", "all"):
        raise UserError(f'compare is {compare!r}; allowed are "same", "all" and a list of layers that belong together.')
    unknown = [name for name in layers if name not in networks] if isinstance(layers, Mapping) else []
    if unknown:
        raise UserError(f"layers names {unknown[0]!r}, which is no network; the networks are {', '.join(networks)}.")


def _check_run(forward: Any, unit_axis: Any, control: Any, *, is_masked: bool) -> None:
    if forward is not None:
        raise UserError("forward is for modules in this process, and a run builds its own networks.")
    if isinstance(unit_axis, int):
        raise UserError('On Ray unit_axis is said layer by layer, as {"blocks.0.attn.softmax": 1}.')
    if is_masked:
        raise UserError("mask and without are for batches of sequences in this process, and a run has images.")
    if control is not None:
        raise UserError(
            "control is for networks in this process; a run draws untrained networks itself, see the columns "
            "untrained_... of its table alignment."
        )


def _check_data(networks: Mapping[str, Any], modules: Mapping[str, nn.Module], data: Any) -> None:
    if modules and data is None:
        raise UserError(f"The network {next(iter(modules))} needs data: give batches of images as data.")
    if data is not None and not modules:
        raise UserError("There is no network to pass data through: recorded activations need none.")
    if data is not None and not isinstance(data, Iterable) and not hasattr(data, "iter_torch_batches"):
        raise UserError(
            f"data is a {type(data).__name__}, and must be batches: a list, a DataLoader, a ray.data.Dataset."
        )
    for name, given in networks.items():
        if name not in modules and (given is None or isinstance(given, int | float) or callable(given)):
            raise UserError(
                f"{name} is a {type(given).__name__}, which is neither a PyTorch module nor recorded activations; give "
                "one of these."
            )
