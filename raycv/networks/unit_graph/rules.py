"""What PyTorch's operations do to the axes of tensors.

A rule takes the operation, as a node of a graph of aten operations, and gives the axes of its result. Operations that
treat all places of an axis alike keep it; those that do not, such as a convolution the rows of an image, fix it. An
operation without a rule fixes all axes it is given, so that what is not known is left as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from operator import getitem
from typing import Any

import torch
from torch.fx import Node

from raycv.networks.unit_graph.axes import Axis, Misfit, fix, joined, piece, place, product, regroup, unite

Axes = list[Axis]  # of one tensor, one for each dimension
POSITIONS = "it counts positions"


class Follower:
    """Follows the axes of tensors from operation to operation.

    ``axes``: of each node so far, a list of them where it gives several tensors. ``origins``: the parameter that a node
    shows, and which of its axes each axis is. ``consumed``: axes of parameters over which is summed, so that they count
    what goes into a layer and not what comes out.
    """

    def __init__(self) -> None:
        self.axes: dict[Node, Any] = {}
        self.origins: dict[Node, tuple[str, tuple[int, ...]]] = {}
        self.consumed: set[tuple[str, int]] = set()

    def follow(self, node: Node) -> None:
        """Note the axes of an operation's result."""
        if node.target is getitem:
            several, at = _arguments(node)
            self.axes[node] = self.axes[several][at]
            if at == 0 and several in self.origins:
                self.origins[node] = self.origins[several]
            return
        name = str(getattr(node.target, "__name__", "")).split(".")[0].rstrip("_")
        rule = _RULES.get(name.removeprefix("_"))
        if rule is None and torch.Tag.pointwise in getattr(node.target, "tags", ()):
            rule = elementwise
        try:
            self.axes[node] = (rule or unknown)(self, node)
        except Misfit:
            self.axes[node] = unknown(self, node)

    def of(self, node: Any) -> Axes:
        """The axes of a node that gives one tensor."""
        found: Axes = self.axes[node]
        return found

    def consume(self, node: Any, axis: int) -> None:
        """Note that a sum runs over an axis of ``node``, where that is a parameter."""
        if node in self.origins:
            name, order = self.origins[node]
            self.consumed.add((name, order[axis]))


Rule = Callable[[Follower, Node], Any]
_RULES: dict[str, Rule] = {}


def _for(*names: str) -> Callable[[Rule], Rule]:
    def note(rule: Rule) -> Rule:
        _RULES.update(dict.fromkeys(names, rule))
        return rule

    return note


def sizes(node: Any) -> tuple[int, ...]:
    """The shape of the tensor that a node gives; empty where it gives several or none."""
    value = node.meta.get("val")
    return tuple(map(int, value.shape)) if isinstance(value, torch.Tensor) else ()


def _arguments(node: Node) -> tuple[Any, ...]:
    """What the operation was called with."""
    return node.args


def _fresh(shape: Sequence[int], fixed: str) -> Axes:
    return [Axis(size, fixed) for size in shape]


def _tensors(node: Node) -> list[Node]:
    return [given for given in node.all_input_nodes if isinstance(given.meta.get("val"), torch.Tensor)]


def unknown(follower: Follower, node: Node) -> Any:
    """All axes are fixed."""
    reason = f"the order matters to {node.target}"
    for given in _tensors(node):
        for axis in follower.of(given):
            fix(axis, reason)
    value = node.meta.get("val")
    if isinstance(value, list | tuple):
        return [_fresh(one.shape if isinstance(one, torch.Tensor) else (), reason) for one in value]
    return _fresh(sizes(node), reason)


@_for(
    "hardswish",
    "prelu_kernel",
    "softmax",
    "log_softmax",
    "clone",
    "to_copy",
    "detach",
    "alias",
    "lift_fresh_copy",
    "fill",
    "zero",
)
def elementwise(follower: Follower, node: Node) -> Axes:
    """Every place is treated alike; axes of several tensors at the same place are one."""
    shape, result = sizes(node), [Axis(1) for _ in sizes(node)]
    for given in _tensors(node):
        for back, axis in enumerate(reversed(follower.of(given)), 1):
            if axis.size == shape[-back] and axis.size > 1:
                if result[-back].size > 1:
                    unite(axis, result[-back])
                result[-back] = axis
    if len(_tensors(node)) == 1 and _tensors(node)[0] in follower.origins:
        follower.origins[node] = follower.origins[_tensors(node)[0]]
    return result


@_for("empty", "zeros", "ones", "full", "new_zeros", "new_ones", "scalar_tensor", "zeros_like", "ones_like")
def uniform(_follower: Follower, node: Node) -> Axes:
    """One value everywhere."""
    return _fresh(sizes(node), "")


@_for("view", "unsafe_view", "reshape", "squeeze", "unsqueeze")
def view(follower: Follower, node: Node) -> Axes:
    """The same values, row by row, in another shape."""
    given = _arguments(node)[0]
    result: Axes = []
    for inner, shape in _aligned(follower.of(given), sizes(node)):
        try:
            result += regroup(inner, shape)
        except Misfit:
            for axis in inner:
                fix(axis, "it is put together in two ways")
            result += _fresh(shape, "it is put together in two ways")
    if given in follower.origins and sizes(given) == sizes(node):
        follower.origins[node] = follower.origins[given]
    return result


def _aligned(axes: Axes, shape: Sequence[int]) -> list[tuple[Axes, list[int]]]:
    """The fewest neighbouring axes of a tensor and of a view of it that have the same places."""
    result: list[tuple[Axes, list[int]]] = []
    before, after = list(axes)[::-1], list(shape)[::-1]
    while before or after:
        inner, outer = [before.pop()] if before else [], [after.pop()] if after else []
        while (had := prod(axis.size for axis in inner)) != (has := prod(outer)):
            if had < has:
                inner.append(before.pop())
            else:
                outer.append(after.pop())
        result.append((inner, outer))
    return result


@_for("as_strided")
def as_strided(follower: Follower, node: Node) -> Any:
    """The same values in another order in memory; other uses are not followed."""
    same = sizes(_arguments(node)[0]) == sizes(node)
    return follower.of(_arguments(node)[0]) if same else unknown(follower, node)


@_for("t", "transpose", "permute")
def permute(follower: Follower, node: Node) -> Axes:
    """The axes in another order."""
    given, *more = _arguments(node)
    axes = follower.of(given)
    order = list(range(len(axes)))
    if node.target is torch.ops.aten.permute.default:
        order = [n % len(axes) for n in more[0]]
    elif len(axes) > 1:
        first, second = (n % len(axes) for n in (more or (0, 1)))
        order[first], order[second] = second, first
    if given in follower.origins:
        name, known = follower.origins[given]
        follower.origins[node] = name, tuple(known[n] for n in order)
    return [axes[n] for n in order]


@_for("expand")
def expand(follower: Follower, node: Node) -> Axes:
    """The same values again and again along axes of size 1."""
    axes = follower.of(_arguments(node)[0])
    shape = sizes(node)
    return [
        axes[n - len(shape)] if n - len(shape) >= -len(axes) and axes[n - len(shape)].size == size else Axis(size)
        for n, size in enumerate(shape)
    ]


@_for("cat")
def cat(follower: Follower, node: Node) -> Axes:
    """Tensors end to end along one axis."""
    given = [follower.of(one) for one in _arguments(node)[0] if one.meta["val"].numel()]
    along = (_arguments(node)[1] if len(_arguments(node)) > 1 else 0) % len(given[0])
    for other in given[1:]:
        for n, (a, b) in enumerate(zip(given[0], other, strict=True)):
            if n != along:
                unite(a, b)
    return [joined([axes[n] for axes in given]) if n == along else axis for n, axis in enumerate(given[0])]


@_for("slice")
def slices(follower: Follower, node: Node) -> Axes:
    """Some places of one axis."""
    axes = list(follower.of(_arguments(node)[0]))
    given, defaults = list(_arguments(node)[1:]), [0, 0, None, 1]
    along, start, stop, step = given + defaults[len(given) :]
    along = along % len(axes)
    axes[along] = _piece(axes[along], *slice(start, stop, step).indices(axes[along].size))
    return axes


def _piece(axis: Axis, start: int, stop: int, step: int = 1) -> Axis:
    """Some places of an axis; where they cannot be followed, its order is fixed."""
    try:
        if step == 1:
            return piece(axis, start, stop)
    except Misfit:
        pass
    fix(axis, "some of its places are taken out")
    return Axis(len(range(start, stop, step)), "some of its places are taken out")


@_for("split", "split_with_sizes", "unsafe_split", "unsafe_split_with_sizes", "chunk")
def splits(follower: Follower, node: Node) -> list[Axes]:
    """One axis cut into several."""
    axes = follower.of(_arguments(node)[0])
    along = (_arguments(node)[2] if len(_arguments(node)) > 2 else 0) % len(axes)
    result, start = [], 0
    for one in node.meta["val"]:
        stop = start + one.shape[along]
        result.append([_piece(axis, start, stop) if n == along else axis for n, axis in enumerate(axes)])
        start = stop
    return result


def _selected(axes: Axes, along: int, index: int) -> Axes:
    """One place of an axis. Where other axes depend on it, each place has its own."""
    outer = product([axes[along]])
    rest = [axis for n, axis in enumerate(axes) if n != along]
    if outer.is_plain:
        fix(outer, "its places are used one by one")
        return [place(axis, outer, index) for axis in rest]
    if outer.parts:
        _piece(outer, index, index + 1)
    else:
        fix(outer, "its places are used one by one")
    return rest


@_for("select")
def select(follower: Follower, node: Node) -> Axes:
    """One place of one axis."""
    axes = follower.of(_arguments(node)[0])
    along = _arguments(node)[1] % len(axes)
    return _selected(axes, along, _arguments(node)[2] % axes[along].size)


@_for("unbind")
def unbind(follower: Follower, node: Node) -> list[Axes]:
    """Each place of one axis."""
    axes = follower.of(_arguments(node)[0])
    along = (_arguments(node)[1] if len(_arguments(node)) > 1 else 0) % len(axes)
    return [_selected(axes, along, index) for index in range(axes[along].size)]


@_for("index")
def index(follower: Follower, node: Node) -> Any:
    """Chosen places of one axis, as a table of relative positions is read."""
    axes, chosen = follower.of(_arguments(node)[0]), _arguments(node)[1]
    at = [n for n, one in enumerate(chosen) if one is not None]
    if len(at) != 1:
        return unknown(follower, node)
    fix(axes[at[0]], "its places are chosen by number")
    new = _fresh(sizes(chosen[at[0]]), "its places are chosen by number")
    return [*axes[: at[0]], *new, *axes[at[0] + 1 :]]


@_for("roll", "flip")
def moved(follower: Follower, node: Node) -> Axes:
    """Places moved along axes."""
    axes = list(follower.of(_arguments(node)[0]))
    for along in _arguments(node)[-1]:
        fix(axes[along], f"{node.target} moves its places")
    return axes


@_for("constant_pad_nd")
def pad(follower: Follower, node: Node) -> Axes:
    """Places added at the ends of axes."""
    axes = list(follower.of(_arguments(node)[0]))
    widths = list(_arguments(node)[1])
    for back in range(1, len(widths) // 2 + 1):
        before, after = widths[2 * back - 2 : 2 * back]
        ends = [_fresh([width], "it is padding") if width else [] for width in (before, after)]
        axes[-back] = joined([*ends[0], axes[-back], *ends[1]])
    return axes


@_for("mean", "sum", "amax", "amin", "std", "var", "logsumexp", "linalg_vector_norm")
def reduce(follower: Follower, node: Node) -> Axes:
    """One number of all places of some axes."""
    given, *more = _arguments(node)
    axes = follower.of(given)
    if "norm" in str(node.target):  # its order comes first
        more = more[1:]
    along = more[0] if more else None
    gone = {n % len(axes) for n in ([along] if isinstance(along, int) else along or range(len(axes)))}
    if len(sizes(node)) == len(axes):
        return [Axis(1) if n in gone else axis for n, axis in enumerate(axes)]
    return [axis for n, axis in enumerate(axes) if n not in gone]


@_for("max", "min", "topk", "sort")
def ranked(follower: Follower, node: Node) -> Any:
    """Places of one axis by their size: whose values they are does not matter as long as nothing asks for it."""
    given, *more = _arguments(node)
    if not isinstance(node.meta["val"], list | tuple):
        return reduce(follower, node)
    if any(_arguments(user)[1] == 1 and user.users for user in node.users):
        return unknown(follower, node)
    axes, at = follower.of(given), 1 if "topk" in str(node.target) else 0
    along = (more[at] if len(more) > at else -1) % len(axes)
    shape = tuple(node.meta["val"][0].shape)
    left = [axis for n, axis in enumerate(axes) if n != along]
    values = left if len(shape) < len(axes) else [*left[:along], Axis(shape[along], "it is by size"), *left[along:]]
    return [values, _fresh(shape, "it is by size")]


@_for("glu")
def glu(follower: Follower, node: Node) -> Axes:
    """One half of an axis times the sigmoid of the other."""
    axes = list(follower.of(_arguments(node)[0]))
    along = (_arguments(node)[1] if len(_arguments(node)) > 1 else -1) % len(axes)
    half = axes[along].size // 2
    first, second = piece(axes[along], 0, half), piece(axes[along], half, 2 * half)
    unite(first, second)
    axes[along] = first
    return axes


def _positions(axes: Axes) -> None:
    for axis in axes:
        fix(axis, POSITIONS)


@_for("max_pool2d_with_indices", "adaptive_max_pool2d", "fractional_max_pool2d")
def max_pool(follower: Follower, node: Node) -> list[Axes]:
    """Values and places of the largest in windows."""
    axes = follower.of(_arguments(node)[0])
    _positions(axes[2:])
    return [[*axes[:2], *_fresh(one.shape[2:], POSITIONS)] for one in node.meta["val"]]


@_for(
    "avg_pool2d",
    "adaptive_avg_pool2d",
    "upsample_nearest2d",
    "upsample_nearest_exact2d",
    "upsample_bilinear2d",
    "upsample_bicubic2d",
    "reflection_pad2d",
    "replication_pad2d",
)
def pool(follower: Follower, node: Node) -> Axes:
    """Sums over windows, or copies of positions."""
    axes = follower.of(_arguments(node)[0])
    _positions(axes[2:])
    return [*axes[:2], *_fresh(sizes(node)[2:], POSITIONS)]


@_for("convolution")
def convolution(follower: Follower, node: Node) -> Any:
    """Σ over the input channels of each group and a window."""
    given, weight, bias = _arguments(node)[:3]
    axes, kernel = follower.of(given), follower.of(weight)
    groups: int = _arguments(node)[8]
    transposed: bool = _arguments(node)[6]
    if transposed and groups > 1:
        return unknown(follower, node)
    _positions([*axes[2:], *kernel[2:]])
    into, out = axes[1], kernel[1 if transposed else 0]
    if groups > 1:
        first, into = _blocks(into, groups)
        second, _ = _blocks(out, groups)
        unite(first, second)
    summed = 0 if transposed else 1
    unite(into, kernel[summed])
    follower.consume(weight, summed)
    if bias is not None:
        unite(follower.of(bias)[0], out)
    return [axes[0], out, *_fresh(sizes(node)[2:], POSITIONS)]


def _blocks(axis: Axis, count: int) -> Axes:
    """An axis as equal blocks: which block, and where in it."""
    return regroup([axis], [count, axis.size // count])


@_for("mm", "bmm", "addmm", "baddbmm")
def matmul(follower: Follower, node: Node) -> Axes:
    """Σ over the last axis of one and the one before the last of the other."""
    count = 3 if "add" in str(node.target) else 2
    first, second = _arguments(node)[count - 2 : count]
    added = _arguments(node)[: count - 2]
    a, b = follower.of(first), follower.of(second)
    unite(a[-1], b[-2])
    follower.consume(first, len(a) - 1)
    follower.consume(second, len(b) - 2)
    for x, y in zip(a[:-2], b[:-2], strict=True):
        unite(x, y)
    result = [*a[:-2], a[-2], b[-1]]
    for one in added:
        for x, y in zip(reversed(follower.of(one)), reversed(result), strict=False):
            if x.size == y.size:
                unite(x, y)
    return result


@_for(
    "scaled_dot_product_flash_attention_for_cpu",
    "scaled_dot_product_flash_attention",
    "scaled_dot_product_efficient_attention",
    "scaled_dot_product_fused_attention_overrideable",
    "scaled_dot_product_attention_math",
)
def attention(follower: Follower, node: Node) -> Any:
    """softmax(query · keyᵀ) · value, head by head."""
    query, key, value = (follower.of(one) for one in _arguments(node)[:3])
    for n in range(len(query) - 2):
        unite(query[n], key[n])
        unite(query[n], value[n])
    unite(query[-1], key[-1])
    unite(key[-2], value[-2])
    for mask in _tensors(node)[3:]:
        for axis in follower.of(mask):
            fix(axis, "it is a mask")
    whole = unknown_results(node)
    whole[0] = [*query[:-1], value[-1]]
    return whole


def unknown_results(node: Node) -> list[Axes]:
    """Fixed axes for every tensor that an operation gives."""
    shapes = [one.shape if isinstance(one, torch.Tensor) else () for one in node.meta["val"]]
    return [_fresh(shape, f"it comes from {node.target}") for shape in shapes]


@_for("native_batch_norm", "native_batch_norm_legit_no_training", "cudnn_batch_norm", "batch_norm")
def batch_norm(follower: Follower, node: Node) -> list[Axes]:
    """Every channel by numbers of its own."""
    given, *vectors = _arguments(node)[:5]
    axes = follower.of(given)
    for vector in vectors:
        if vector is not None:
            unite(follower.of(vector)[0], axes[1])
    return [axes, *unknown_results(node)[1:]]


@_for("weight_norm_interface")
def weight_norm(follower: Follower, node: Node) -> list[Axes]:
    """Weights as directions and lengths, one length for each place of one axis."""
    given, lengths, *more = _arguments(node)
    axes, along = follower.of(given), more[0] if more else 0
    unite(follower.of(lengths)[along], axes[along])
    if given in follower.origins:
        follower.origins[node] = follower.origins[given]
    return [axes, follower.of(lengths)]


@_for("native_layer_norm")
def layer_norm(follower: Follower, node: Node) -> list[Axes]:
    """By mean and deviation over the last axes."""
    given, shape, *vectors = _arguments(node)[:4]
    axes = follower.of(given)
    for vector in vectors:
        if vector is not None:
            for a, b in zip(follower.of(vector), axes[-len(shape) :], strict=True):
                unite(a, b)
    return [axes, *unknown_results(node)[1:]]


@_for("native_group_norm")
def group_norm(follower: Follower, node: Node) -> list[Axes]:
    """By mean and deviation over blocks of channels."""
    given, weight, bias = _arguments(node)[:3]
    axes = follower.of(given)
    for vector in (weight, bias):
        if vector is not None:
            unite(follower.of(vector)[0], axes[1])
    if (groups := int(_arguments(node)[6])) > 1:
        _blocks(axes[1], groups)
    return [axes, *unknown_results(node)[1:]]
