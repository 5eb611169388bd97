"""Names to classes: what lets a config or a checkpoint say `{name: lmliif, args: {...}}`."""

import importlib
import inspect
import pkgutil
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

from utils.config import check_keys
from utils.errors import InputError, nearest_name


def shortened(value: Any) -> str:
    """The beginning of a value's representation, for one-line messages."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def import_folder(package: ModuleType) -> None:
    """Import every module in a package's folder, in order of name, so that the parts in it are registered."""
    for name in sorted(module.name for module in pkgutil.iter_modules(package.__path__)):
        importlib.import_module(f"{package.__name__}.{name}")


class Registry:
    """Maps registry names to classes or factory functions of one `kind` ("model", "dataset", "loss")."""

    def __init__(self, kind: str):
        self.kind = kind
        self.factories: dict[str, Callable] = {}

    def register(self, name: str) -> Callable[[Callable], Callable]:
        """Class decorator that enters the class under `name`; a second entry under one name is a bug (KeyError)."""

        def enter(factory: Callable) -> Callable:
            if name in self.factories:
                raise KeyError(f"{self.kind} '{name}' is registered twice")
            self.factories[name] = factory
            return factory

        return enter

    def names(self, package: str) -> list[str]:
        """The names, sorted, of what is defined in the modules of `package`."""
        return sorted(name for name, made in self.factories.items() if made.__module__.startswith(f"{package}."))

    def make(self, spec: Mapping[str, Any], **overrides: Any) -> Any:
        """Build what `spec` = `{name, args}` describes; `overrides` win over the spec's own `args`.

        Raises InputError for an unknown name, an unknown argument or a missing one.
        """
        if not isinstance(spec, Mapping) or "name" not in spec:
            raise InputError(f"a {self.kind} is described by 'name' and 'args', not by {shortened(spec)}")
        check_keys(spec, ("name", "args", "sd"), f"{self.kind} '{spec['name']}'")
        name = spec["name"]
        if not isinstance(spec.get("args") or {}, Mapping):
            raise InputError(f"{self.kind} '{name}': 'args' should map arguments to values")
        if not isinstance(name, str) or name not in self.factories:
            raise InputError(f"unknown {self.kind} '{name}'; {nearest_name(name, self.factories)}")
        factory = self.factories[name]
        arguments = {**(spec.get("args") or {}), **overrides}
        self._check(name, factory, arguments)
        try:
            return factory(**arguments)
        except InputError:
            raise
        except (TypeError, ValueError, AttributeError, RuntimeError) as error:
            reason = str(error).splitlines()[0] if str(error) else repr(error)
            raise InputError(f"{self.kind} '{name}' cannot be made from these arguments: {reason}") from error

    def _check(self, name: str, factory: Callable, arguments: Mapping[str, Any]) -> None:
        parameters = inspect.signature(factory).parameters.values()
        if any(p.kind is p.VAR_KEYWORD for p in parameters):
            return
        known = [p.name for p in parameters]
        for argument in arguments:
            if argument not in known:
                raise InputError(f"{self.kind} '{name}' has no argument '{argument}'; {nearest_name(argument, known)}")
        for p in parameters:
            if p.default is p.empty and p.name not in arguments:
                raise InputError(f"{self.kind} '{name}' needs the argument '{p.name}'")
