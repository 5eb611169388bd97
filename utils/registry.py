"""Names to classes: what lets a config or a checkpoint say `{name: lmliif, args: {...}}`."""

import functools
import importlib
import inspect
import pkgutil
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from types import ModuleType
from typing import Any, get_type_hints

from utils.config import Check, check, check_keys, check_of
from utils.errors import InputError, nearest_name, one_line, shortened

# Names that help and errors say before PyTorch is imported; a test compares them with the registries
BACKENDS = ("auto", "native", "triton", "torch")
PRECISIONS = ("auto", "float32", "bfloat16")
FILTERS = ("bicubic", "bilinear", "catmull-rom", "lanczos", "nearest")
MEASURES = ("intensity", "curvature")  # of an LR pixel, by which CMSR chooses its level
RULES = ("published", "pooled")  # by which init_cmsr.py chooses thresholds


def import_folder(package: ModuleType, without: Collection[str] = ()) -> None:
    """Import every module in a package's folder, in order of name, so that the parts in it are registered; `without`
    names commands."""
    for name in sorted({module.name for module in pkgutil.iter_modules(package.__path__)} - set(without)):
        importlib.import_module(f"{package.__name__}.{name}")


class Registry:
    """Maps registry names to classes or factory functions of one `kind` ("model", "dataset", "loss").

    Arguments are checked against the annotations of the constructor (`utils.config.check_of`).
    """

    def __init__(self, kind: str, packages: Sequence[str] = ()):
        self.kind = kind
        self._factories: dict[str, Callable] = {}
        self._packages = packages  # yet to be imported: their modules register what is in them
        self._lock = threading.RLock()

    @property
    def factories(self) -> dict[str, Callable]:
        """All entries by name; the packages are imported when this is first asked for."""
        with self._lock:
            packages, self._packages = self._packages, ()
            for package in packages:
                import_folder(importlib.import_module(package))
        return self._factories

    def register(self, name: str) -> Callable[[Callable], Callable]:
        """Class decorator that enters the class under `name`; a second entry under one name is a bug (KeyError)."""

        def enter(factory: Callable) -> Callable:
            if name in self._factories:
                raise KeyError(f"{self.kind} '{name}' is registered twice")
            self._factories[name] = factory
            return factory

        return enter

    def names(self, package: str) -> list[str]:
        """The names, sorted, of what is defined in the modules of `package`."""
        return sorted(name for name, made in self.factories.items() if made.__module__.startswith(f"{package}."))

    def make(self, spec: Mapping[str, Any], **overrides: Any) -> Any:
        """Build what `spec` = `{name, args}` describes, with `overrides`, arguments that follow from elsewhere.

        Raises InputError for an unknown name, an unknown argument, a missing one, one of another type or range, or one
        that differs from the override.
        """
        if not isinstance(spec, Mapping) or "name" not in spec:
            raise InputError(f"a {self.kind} is described by 'name' and 'args', not by {shortened(spec)}")
        name = spec["name"]
        if not isinstance(name, str) or name not in self.factories:
            raise InputError(f"unknown {self.kind} {shortened(name)}; {nearest_name(name, self.factories)}")
        check_keys(spec, ("name", "args", "sd"), f"{self.kind} '{name}'")
        args = {} if spec.get("args") is None else spec["args"]
        if not isinstance(args, Mapping):
            raise InputError(f"{self.kind} '{name}': 'args' should map arguments to values, not be {shortened(args)}")
        self._check(name, args, overrides)
        try:
            return self.factories[name](**{**args, **overrides})
        except InputError:
            raise
        except (TypeError, ValueError, AttributeError, LookupError, ArithmeticError, RuntimeError) as error:
            reason = one_line(str(error).partition("\n")[0]) or repr(error)
            raise InputError(f"{self.kind} '{name}' cannot be made from these arguments: {reason}") from error

    def _check(self, name: str, args: Mapping[str, Any], overrides: Mapping[str, Any]) -> None:
        kinds, required = arguments_of(self.factories[name])
        for argument, value in [*overrides.items(), *args.items()]:
            if argument not in kinds:
                hint = nearest_name(argument, kinds)
                raise InputError(f"{self.kind} '{name}' has no argument {shortened(argument)}; {hint}")
            check(f"{self.kind} '{name}': {argument}", value, kinds[argument])
        for argument in required:
            if argument not in args and argument not in overrides:
                raise InputError(f"{self.kind} '{name}' needs the argument '{argument}'")
        for argument in args:
            if argument in overrides and args[argument] != overrides[argument]:
                given, follows = shortened(args[argument]), shortened(overrides[argument])
                raise InputError(
                    f"{self.kind} '{name}': {argument} is {given}, but {follows} follows from the rest; remove it"
                )


@functools.cache
def arguments_of(factory: Callable) -> tuple[dict[str, Check], list[str]]:
    """The arguments of a class or function with their kinds, anything for one without an annotation, and the names of
    those without a default. TypeError for an annotation that says nothing of values."""
    variadic = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    parameters = [p for p in inspect.signature(factory).parameters.values() if p.kind not in variadic]
    hints = get_type_hints(factory.__init__ if inspect.isclass(factory) else factory, include_extras=True)
    kinds = {parameter.name: check_of(hints.get(parameter.name, Any)) for parameter in parameters}
    return kinds, [parameter.name for parameter in parameters if parameter.default is parameter.empty]
