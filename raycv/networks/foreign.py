"""Running what a user wrote, which may do anything: raise, exit, print, go to another folder, keep state.

Whatever it does ends as a value or as one `UserError`, and exit codes stay raycv's own.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

import torch
from pydantic import ValidationError
from torch import Tensor, nn

from raycv.errors import WHERE, UserError
from raycv.networks.borrowed import same_state, same_weights
from raycv.networks.spec import first_of

OURS = str(Path(__file__).parents[1]) + os.sep
LIBRARIES = tuple(
    os.sep + name + os.sep for name in ("torch", "torchvision", "timm", "transformers", "pydantic", "importlib")
)
LONGEST = 300  # characters of what an error says that a sentence repeats


class _Ended(BaseException):
    """In place of the end of the process."""


@contextlib.contextmanager
def users_code(what: str) -> Iterator[None]:
    """Inside, a user's own code runs; what it raises, and that it ends the process, becomes a UserError about ``what``.

    Only the user's Ctrl-C passes, and what raycv itself raises.
    """
    stopped: list[int] = []
    folder = os.getcwd()
    try:
        with _own_signals(stopped), _no_end():
            yield
    except BaseException as error:
        ours = type(error).__module__.partition(".")[0] == "raycv" and not isinstance(error, _Ended)
        if ours or isinstance(error, torch.OutOfMemoryError | GeneratorExit) or (stopped and _is_stop(error)):
            raise
        raise UserError(f"{what}: {_said(error)}.{_where(error)}") from error
    finally:
        with contextlib.suppress(OSError):  # the folder may be gone
            if os.getcwd() != folder:
                os.chdir(folder)


def _is_stop(error: BaseException) -> bool:
    return isinstance(error, KeyboardInterrupt)


def _said(error: BaseException) -> str:
    """What an error says, on one line."""
    if isinstance(error, _Ended | SystemExit):
        return f"it ends the process, {error or 'sys.exit()'}" if isinstance(error, _Ended) else _exit(error)
    if isinstance(error, ValidationError):
        return f"{error.title}.{first_of(error)}"
    text = " ".join(str(error).split())
    text = text if len(text) <= LONGEST else f"{text[:LONGEST]}..."
    return f"{type(error).__name__}: {text}".rstrip(".: ")


def _exit(error: SystemExit) -> str:
    return f"it ends the process, sys.exit({'' if error.code is None else repr(error.code)[:LONGEST]})"


def _where(error: BaseException) -> str:
    """The last line of a traceback that is the user's own; empty where none is."""
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith((OURS, "<frozen")) and not any(name in frame.filename for name in LIBRARIES)
    ]
    if not frames:
        return ""
    last = frames[-1]
    return f'{WHERE}"{last.filename}", line {last.lineno}, in {last.name}: {last.line}'


@contextlib.contextmanager
def _own_signals(stopped: list[int]) -> Iterator[None]:
    """Note in ``stopped`` that the user has pressed Ctrl-C, which an exception of the same kind does not tell."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGINT)

    def stop(number: int, frame: FrameType | None) -> Any:
        stopped.append(number)
        if callable(before):
            return before(number, frame)
        raise KeyboardInterrupt

    if not callable(before):  # it is ignored, or not Python's
        yield
        return
    signal.signal(signal.SIGINT, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextlib.contextmanager
def _no_end() -> Iterator[None]:
    """Inside, ``os._exit`` and ``os.abort`` raise, but in processes that were forked from this one."""
    process, thread = os.getpid(), threading.get_ident()
    before = os._exit, os.abort

    def refused(name: str, really: Callable[..., NoReturn]) -> Callable[..., NoReturn]:
        def end(*given: Any) -> NoReturn:
            if os.getpid() != process or threading.get_ident() != thread:
                really(*given)
            raise _Ended(f"os.{name}({', '.join(map(repr, given))})")

        return end

    os._exit, os.abort = refused("_exit", before[0]), refused("abort", before[1])
    try:
        yield
    finally:
        os._exit, os.abort = before
        if os.getpid() != process:  # a child that went on here would do the work a second time
            os._exit(1)


@contextlib.contextmanager
def to_stderr() -> Iterator[None]:
    """Inside, what is printed goes where messages go: the standard output is for answers. For the main thread alone."""
    if threading.current_thread() is threading.main_thread():
        with contextlib.redirect_stdout(sys.stderr):
            yield
    else:
        yield


def guarded(net: nn.Module, who: str, *, foreign: bool) -> nn.Module:
    """``net``, given images in the precision of its weights from now on; what it raises is one sentence about ``who``.

    In evaluation mode a user's own (``foreign``) network is after each call as it was before, so that what it gives for
    some images does not depend on those that it was given before: buffers and other attributes are put back. What it
    keeps elsewhere, as in objects of classes of its own, is not. Raises UserError where it changes its own weights.
    """
    net.__class__ = _class_of(type(net))
    net._raycv_guard = who, foreign  # type: ignore[assignment]
    return net


def _class_of(kind: Any) -> type[nn.Module]:
    """A class like ``kind`` that is called in another way; unlike an attribute of a network it follows its copies."""

    class Guarded(kind):  # type: ignore[misc]
        def __call__(self, *args: Any, **kwargs: Any) -> Any:
            return _called(self, super().__call__, args, kwargs)

    Guarded.__name__, Guarded.__qualname__, Guarded.__module__ = kind.__name__, kind.__qualname__, kind.__module__
    return Guarded


def _called(net: nn.Module, call: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    who, foreign = vars(net)["_raycv_guard"]
    kind = dtype_of(net)
    args = tuple(_cast(value, kind) for value in args)
    with users_code(f"{who} fails on {_images(args)}"):
        # What is followed without values, as to see which weights share units, is no use of the network.
        plain = all(type(value) is Tensor for value in args if isinstance(value, Tensor))
        if not foreign or not plain or any(module.training for module in net.modules()):
            return call(*args, **kwargs)
        with as_it_was(net, who):
            return call(*args, **kwargs)


def _cast(value: Any, kind: torch.dtype | None) -> Any:
    is_image = isinstance(value, Tensor) and value.is_floating_point() and value.dtype != kind
    return value.to(kind) if is_image and kind is not None else value


def _images(args: tuple[Any, ...]) -> str:
    shape = args[0].shape if args and isinstance(args[0], Tensor) else ()
    return f"images of {shape[-2]} x {shape[-1]} pixels" if len(shape) == 4 else "images"


def copies_well(net: nn.Module) -> bool:
    """Whether a deep copy of ``net`` is a network of its own: functions within functions may go on knowing ``net``."""
    for module in net.modules():
        kept = (*vars(module).values(), *module._forward_hooks.values(), *module._forward_pre_hooks.values())
        if "forward" in vars(module) or any(getattr(value, "__closure__", None) for value in kept):
            return False
    return True


def dtype_of(net: nn.Module) -> torch.dtype | None:
    """The precision of a network's first weights; None where it has none."""
    return next((value.dtype for value in net.parameters() if value.is_floating_point()), None)


@contextlib.contextmanager
def as_it_was(net: nn.Module, who: str) -> Iterator[None]:
    """Inside, ``net`` may change its own state, which is put back at the end. Raises UserError for changed weights."""
    with same_weights(net, who), same_state(net):
        yield


def restores_itself(net: nn.Module) -> bool:
    """Whether `guarded` puts the state of ``net`` back after each call in evaluation mode."""
    return bool(vars(net).get("_raycv_guard", ("", False))[1])
