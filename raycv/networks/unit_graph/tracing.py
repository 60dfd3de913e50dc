"""The groups of units of a network, from one forward pass without content."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from itertools import product as combinations
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import GraphModule, Node
from torch.fx.experimental.proxy_tensor import make_fx

from raycv.analysis.unit_groups import UnitGroup, UnitGroups, WeightBlock
from raycv.errors import UserError
from raycv.networks.alexnet import LocalResponseNorm
from raycv.networks.layouts import Layout
from raycv.networks.models import hollow
from raycv.networks.module_paths import modules_of
from raycv.networks.spec import NetworkSpec
from raycv.networks.taps import known
from raycv.networks.unit_graph.axes import Axis, factors, find, fix, parts, place, plain
from raycv.networks.unit_graph.rules import Follower

# These divide a channel by what its neighbours have, so that the order of channels matters, but by little.
NEIGHBOURLY = (LocalResponseNorm, nn.LocalResponseNorm)
Strided = list[tuple[int, int, Axis]]  # size, stride and plain axis of every dimension of a view


@lru_cache(maxsize=8)
def unit_groups_of(spec: NetworkSpec) -> UnitGroups:
    """The groups of the network of ``spec``; its weights take no memory."""
    crop = spec.preprocessing.crop
    with torch.device("meta"):
        return unit_groups(hollow(spec), torch.empty(2, 3, crop, crop))


def unit_groups(net: nn.Module, images: Tensor) -> UnitGroups:
    """The groups of ``net`` as it computes its output (B, classes) from ``images`` (B, ...), B > 1.

    The order of the output and of the images' axes is fixed. Nothing is computed: the pass is followed by shapes.
    Raises UserError where what a network does depends on what it computes.
    """
    passed = _trace(net, images)
    follower = Follower()
    inputs = [node for node in passed.module.graph.nodes if node.op == "placeholder"]
    named = dict(zip(passed.state, inputs, strict=False))  # the last one is the image
    for name, node in named.items():
        shape, unstored = passed.state[name].shape, "" if passed.stored[name] else "it is not stored with the weights"
        follower.axes[node] = [Axis(size, unstored) for size in shape]
        follower.origins[node] = name, tuple(range(len(shape)))
    follower.axes[inputs[-1]] = [Axis(size, "it is the images'") for size in images.shape]
    for node in passed.module.graph.nodes:
        if node.op == "get_attr":  # a tensor that forward has made, or keeps beside its parameters
            constant = getattr(passed.module, str(node.target))
            follower.axes[node] = [Axis(size, "it is a constant's") for size in constant.shape]
        elif node.op == "call_function":
            follower.follow(node)
    for axis in follower.of(passed.output):
        fix(axis, "it is the output's")
    for node in passed.nearly:
        for leaf in plain(follower.of(node)[1]):
            leaf.nearly = True
    return _Groups(passed, follower, named).found()


@dataclass(frozen=True)
class _Pass:
    """One forward pass as a graph. layers: by module path the node of its result, and which axis counts the units.

    stored: the names under which each tensor of the state is stored: several where modules share it, or none.
    """

    module: GraphModule
    state: dict[str, Tensor]
    stored: dict[str, list[str]]
    output: Node
    layers: dict[str, tuple[Node, int]]
    nearly: list[Node]


def _trace(net: nn.Module, images: Tensor) -> _Pass:
    state = {**dict(net.named_parameters()), **dict(net.named_buffers())}
    places, units = _places(net, state), dict[str, int]()
    layouts = known(net, images).layers or {}

    def run(state: dict[str, Tensor], images: Tensor) -> Any:
        everywhere = {place: state[name] for place, name in places.items()}
        with _watched(net) as (seen, nearly):
            output = torch.func.functional_call(net, everywhere, (images,), tie_weights=False)
        for name in [name for name in seen if not isinstance(layouts.get(name), Layout)]:
            del seen[name]
        units.update({name: layout.units for name in seen if isinstance(layout := layouts[name], Layout)})
        return [output, *seen.values(), *nearly]

    # As a module of its own, attention is one operation that the graph could not look into.
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with torch.no_grad():
            module = make_fx(run, tracing_mode="fake", _allow_non_fake_inputs=True)(state, images)
    except Exception as error:  # what a user's forward does with numbers that are not there
        raise UserError(
            f"{type(net).__name__} cannot be merged: its forward cannot be followed without an image, as where it "
            f"decides by what it has computed ({type(error.__cause__ or error).__name__})."
        ) from error
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
    output, *given = next(node for node in module.graph.nodes if node.op == "output").args[0]
    layers = {name: (node, at) for (name, at), node in zip(units.items(), given, strict=False)}
    return _Pass(module, state, _names(net, state), output, layers, given[len(units) :])


def _places(net: nn.Module, state: Mapping[str, Tensor]) -> dict[str, str]:
    """By path in the network, each module once, the name in ``state`` of the tensor there."""
    first = {id(tensor): name for name, tensor in state.items()}
    return {
        f"{path}.{name}" if path else name: first[id(tensor)]
        for path, module in net.named_modules()
        for kind in (module.named_parameters, module.named_buffers)
        for name, tensor in kind(recurse=False, remove_duplicate=False)
    }


def _names(net: nn.Module, state: Mapping[str, Tensor]) -> dict[str, list[str]]:
    """By name in ``state`` all names under which a network stores the same tensor."""
    first = {id(tensor): name for name, tensor in state.items()}
    found: dict[str, list[str]] = {name: [] for name in state}
    for name, tensor in net.state_dict(keep_vars=True).items():
        if id(tensor) in first:
            found[first[id(tensor)]].append(name)
    return found


@contextmanager
def _watched(net: nn.Module) -> Iterator[tuple[dict[str, Tensor], list[Tensor]]]:
    """While the network runs: what its modules give, and what goes through `NEIGHBOURLY` ones."""
    seen: dict[str, Tensor] = {}
    nearly: list[Tensor] = []
    passes: Counter[str] = Counter()

    def note(name: str) -> Any:
        def hook(_module: nn.Module, _args: Any, out: Any) -> None:
            passes[name] += 1
            if isinstance(out, Tensor) and out.ndim > 1 and passes[name] == 1:
                seen[name] = out
            else:
                seen.pop(name, None)

        return hook

    def through(x: Tensor) -> Tensor:
        nearly.append(x.clone())
        return nearly[-1]

    modules = modules_of(net)
    handles = [module.register_forward_hook(note(name)) for name, module in modules.items()]
    mixing = [module for module in modules.values() if isinstance(module, NEIGHBOURLY)]
    for module in mixing:
        module.forward = through  # type: ignore[method-assign]
    try:
        yield seen, nearly
    finally:
        for module in mixing:
            del module.forward
        for handle in handles:
            handle.remove()


class _Groups:
    """Makes groups of the axes that a follower has found."""

    def __init__(self, passed: _Pass, follower: Follower, named: Mapping[str, Node]) -> None:
        self.passed, self.follower, self.named = passed, follower, named
        self.parents = _parents(follower)
        self.numbers: dict[Axis, int] = {}
        self.groups: list[UnitGroup] = []

    def found(self) -> UnitGroups:
        """All groups, blocks and layers."""
        state, layers = self.passed.state, self.passed.layers
        blocks = [
            block
            for name, node in self.named.items()
            if state[name].is_floating_point() and state[name].numel()
            for stored in self.passed.stored[name]
            for block in self._blocks(stored, self.follower.of(node), name)
        ]
        return UnitGroups(
            groups=tuple(self.groups),
            blocks=tuple(block for block in blocks if any(group is not None for group in block.groups)),
            layers={name: self._layer(name, self.follower.of(node)[at]) for name, (node, at) in layers.items()},
            upstream={name: self._upstream(node) for name, (node, _) in layers.items()},
            fixed=self._fixed(),
        )

    def _layer(self, name: str, units: Axis) -> tuple[WeightBlock, ...]:
        """The units of a layer; none where their order is another at each place of an axis that is not the units'."""
        leaves = plain(units)
        around = {outer for leaf in leaves if not leaf.fixed for outer in self.parents[leaf]}
        return tuple(self._blocks(name, [units])) if around <= {*leaves} else ()

    def _fixed(self) -> dict[str, str]:
        """By weight why no place of its first axis can be moved, where it has several and is not the output's."""
        result = {}
        for name, node in self.named.items():
            axes = self.follower.of(node)
            if len(axes) > 1 and axes[0].size > 1:
                leaves = plain(axes[0])
                reasons = [leaf.fixed for leaf in leaves if leaf.size > 1] or ["each place is used in its own way"]
                if all(reasons) and reasons[0] != "it is the output's":
                    result[name] = reasons[0]
        return result

    def _upstream(self, node: Node) -> frozenset[str]:
        names, queue, seen = {of: name for name, of in self.named.items()}, [node], {node}
        while queue:
            before = [one for one in queue.pop().all_input_nodes if one not in seen]
            seen.update(before)
            queue += before
        return frozenset(stored for one in seen if one in names for stored in self.passed.stored[names[one]])

    def _blocks(self, name: str, axes: Sequence[Axis], parameter: str = "") -> Iterator[WeightBlock]:
        sizes = [axis.size for axis in axes]
        alternatives = []
        for n, axis in enumerate(axes):
            stride = 1
            for size in sizes[n + 1 :]:
                stride *= size
            summed = (parameter, n) in self.follower.consumed
            alternatives.append([(offset, view, summed) for offset, view in _views(axis, stride)])
        for chosen in combinations(*alternatives):
            dimensions = [(dimension, summed) for _, view, summed in chosen for dimension in view]
            yield from self._expanded(name, sum(offset for offset, _, _ in chosen), dimensions)

    def _expanded(self, name: str, offset: int, dimensions: list[tuple[Any, bool]]) -> Iterator[WeightBlock]:
        """One block, or several where axes have another meaning at each place of an outer one."""
        for n, ((size, stride, leaf), _) in enumerate(dimensions):
            copied = [axis for (_, _, axis), _ in dimensions if leaf in axis.copies]
            if copied:
                for index in range(size):
                    rest = [one for m, one in enumerate(dimensions) if m != n]
                    for view in combinations(*(_views(place(axis, leaf, index), step) for (_, step, axis), _ in rest)):
                        inner = [(one, rest[m][1]) for m, (_, found) in enumerate(view) for one in found]
                        start = offset + index * stride + sum(begin for begin, _ in view)
                        yield from self._expanded(name, start, inner)
                return
        leaves = [leaf for (_, _, leaf), _ in dimensions]
        groups = tuple(self._group(leaf) for leaf in leaves)
        yield WeightBlock(
            name=name,
            offset=offset,
            shape=tuple(size for (size, _, _), _ in dimensions),
            strides=tuple(stride for (_, stride, _), _ in dimensions),
            groups=groups,
            outer=tuple(
                tuple(leaves.index(outer) for outer in self.parents[leaf]) if group is not None else ()
                for leaf, group in zip(leaves, groups, strict=True)
            ),
            summed=tuple(summed for _, summed in dimensions),
        )

    def _group(self, leaf: Axis) -> int | None:
        """The number of the group of a plain axis; None where its order is fixed."""
        if leaf.fixed or leaf.size < 2:
            return None
        if leaf not in self.numbers:
            parents = tuple((outer.size, self._group(outer)) for outer in self.parents[leaf])
            self.numbers[leaf] = len(self.groups)
            self.groups.append(UnitGroup(leaf.size, parents, leaf.nearly))
        return self.numbers[leaf]


def _parents(follower: Follower) -> dict[Axis, tuple[Axis, ...]]:
    """By plain axis the outer axes for each place of which it may have another order, those with fewest first.

    It may where the outer axis is in every tensor that it is in itself.
    """
    result: dict[Axis, set[Axis]] = {}
    for axes in _tensors(follower):
        leaves = {leaf for axis in axes for leaf in plain(axis)}
        for leaf in leaves:
            for copied in [leaf, *(copy for copies in leaf.copies.values() for one in copies for copy in plain(one))]:
                outer = {find(one) for one in copied.outer}
                known = result.get(copied, {one for one in outer if one.is_plain and one.size > 1})
                result[copied] = known & leaves if copied is leaf else known
    return {leaf: tuple(sorted(outer, key=lambda one: (len(one.outer), one.size))) for leaf, outer in result.items()}


def _tensors(follower: Follower) -> Iterator[Sequence[Axis]]:
    for found in follower.axes.values():
        if found and isinstance(found[0], list):
            yield from found
        else:
            yield found


def _views(axis: Axis, stride: int) -> list[tuple[int, Strided]]:
    """An axis as views with one dimension per plain axis: where each begins, and its dimensions."""
    axis = find(axis)
    if axis.size == 1 and axis.is_plain:
        return [(0, [])]
    if axis.is_plain:
        return [(0, [(axis.size, stride, axis)])]
    if axis.parts:
        result, start = [], 0
        for part in parts(axis):
            result += [(offset + start * stride, view) for offset, view in _views(part, stride)]
            start += part.size
        return result
    inner, step = [], stride
    for factor in reversed(factors(axis)):
        inner.append(_views(factor, step))
        step *= factor.size
    return [
        (sum(offset for offset, _ in chosen), [one for _, view in reversed(chosen) for one in view])
        for chosen in combinations(*inner)
    ]
