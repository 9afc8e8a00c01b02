"""A handler's function and the types that its hints mean."""

import functools
import inspect
import sys
import typing
from collections.abc import Callable
from typing import Any, Final

from bus.errors import CapabilityError

TASK_CLASS: Final = "agent_runtime.task.Task"


def function_of(handler: Callable[..., Any]) -> Any:
    """The function behind partials, callable objects and decorators that use ``wraps``."""
    while isinstance(handler, functools.partial):
        handler = handler.func
    return inspect.unwrap(handler if inspect.isroutine(handler) else type(handler).__call__)


def parameters_of(handler: Callable[..., Any], name: str) -> list[inspect.Parameter]:
    """What ``handler`` can be called with.

    Raises:
        CapabilityError: it has no signature, as some builtins.
    """
    try:
        return list(inspect.signature(handler).parameters.values())
    except ValueError:
        raise CapabilityError(f"{name}: it has no signature: wrap it in a function") from None


class Hints:
    """The resolved hints of one function, each resolved when it is asked for."""

    def __init__(self, function: Any, name: str) -> None:
        self._written: dict[str, Any] = getattr(function, "__annotations__", {})
        self._globals: dict[str, Any] = getattr(function, "__globals__", {})
        self._locals = _enclosing(function)
        self._name = name

    def of(self, parameter: str) -> Any:
        """The hint of one parameter (or ``return``); Any where there is none.

        Raises:
            CapabilityError: it cannot be resolved.
        """
        if parameter not in self._written:
            return Any

        def holder() -> None: ...

        # One at a time, so that the error can name the parameter.
        holder.__annotations__ = {parameter: self._written[parameter]}
        try:
            found = typing.get_type_hints(holder, self._globals, self._locals, include_extras=True)
        except Exception as problem:  # a hint is an expression: it may raise anything
            where = "the return type" if parameter == "return" else f"parameter {parameter}"
            raise CapabilityError(
                f"{self._name}: the type hint of {where} cannot be resolved ({problem}): import "
                "or define the type at module level, outside 'if TYPE_CHECKING'"
            ) from None
        hint = found[parameter]
        return Any if hint in (object, typing.NoReturn, typing.Never) else hint

    def is_task(self, first: inspect.Parameter) -> bool:
        """Whether the first parameter is the Task and not an input.

        It is when it is annotated so, or named ``task`` and not annotated as anything else.
        """
        try:
            hint = self.of(first.name)
        except CapabilityError:
            # Imported under TYPE_CHECKING only; its name says enough.
            return first.name == "task"
        return is_task_class(hint) or (first.name == "task" and hint is Any)


def is_task_class(hint: Any) -> bool:
    """Whether ``hint`` is Task or a class derived from it; told by name, to import nothing."""
    return inspect.isclass(hint) and any(
        f"{base.__module__}.{base.__qualname__}" == TASK_CLASS for base in inspect.getmro(hint)
    )


def _enclosing(function: Any) -> dict[str, Any]:
    """The names of the functions that ``function`` is defined in, as far as they can be seen:
    those that still run (a decorator is called from them) and those that it closes over."""
    names: dict[str, Any] = {}
    parts = str(getattr(function, "__qualname__", "")).split(".<locals>")[:-1]
    outer = {".<locals>".join(parts[: n + 1]) for n in range(len(parts))}
    frame = sys._getframe() if outer else None
    while frame is not None:
        if frame.f_code.co_qualname in outer and frame.f_globals is function.__globals__:
            names = {**frame.f_locals, **names}  # the innermost comes first and wins
        frame = frame.f_back
    try:
        names.update(inspect.getclosurevars(function).nonlocals)
    except (TypeError, ValueError):
        return names  # not a Python function, or a cell that is still empty
    return names
