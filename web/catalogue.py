"""The models that the page offers, loaded when they are first asked for."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from threading import Lock

from models.checkpoints.loading import load_upscaler
from models.decoders.lmf import LMFDecoder
from models.upscaler import Upscaler
from utils.errors import InputError
from utils.files import PROJECT
from web.errors import Refused

FILTERS = {"nearest": "Nearest", "bicubic": "Bicubic", "lanczos": "Lanczos"}
SHIPPED = {
    "lerf-l": ("LeRF-L", "save/pretrained_models/lerf-l.safetensors"),
    "lerf-g": ("LeRF-G", "save/pretrained_models/lerf-g.safetensors"),
    "lm-liif": ("LM-LIIF", "save/pretrained_models/edsr-s_lm-liif.safetensors"),
}
DEFAULT = "lm-liif"
MOST_LOADED = 4  # models of the user's, beside those above


@dataclass(frozen=True)
class Entry:
    """A model by the `name` that requests give: its `label`, and `source`, as demo.py takes it for --model."""

    name: str
    label: str
    source: str

    @property
    def table(self) -> Path | None:
        """CMSR's scale table of this model, where there is one."""
        path = PROJECT / f"configs/cmsr/result/{Path(self.source).stem}.yaml"
        return path if path.is_file() else None


class Catalogue:
    """Filters, the shipped models, and the checkpoints in `save` that are there when one asks."""

    def __init__(self, backend: str = "auto", save: Path = PROJECT / "save"):
        self.backend = backend
        self._save = save
        self._loaded: dict[str, tuple[float, Upscaler]] = {}
        self._lock = Lock()

    def entries(self) -> dict[str, Entry]:
        """By name, in the order in which they are shown."""
        known = list(self._fixed.values())
        shipped = {PROJECT / entry.source for entry in known}
        for path in sorted(self._save.rglob("*.pth")):
            if path.is_file() and path not in shipped and path.parent not in shipped:
                inner = path.relative_to(self._save).as_posix()
                known.append(Entry(f"save:{inner}", inner.removesuffix(".pth"), f"save/{inner}"))
        return {entry.name: entry for entry in known}

    def find(self, name: str) -> Entry:
        """The entry of a name; Refused (404) for any other."""
        entry = self._fixed.get(name) or self.entries().get(name)
        if entry is None:
            raise Refused(f"no model '{name[:60]}'; choose one of the list", 404)
        return entry

    def upscaler(self, name: str) -> Upscaler:
        """The model of a name, read again when its file has changed; Refused (422) for a file that holds none."""
        entry = self.find(name)
        path = entry.source if name in FILTERS else self._path(entry)
        changed = 0.0 if name in FILTERS else path.stat().st_mtime
        with self._lock:
            if self._loaded.get(name, (None,))[0] != changed:
                try:
                    upscaler = load_upscaler(path, backend=self.backend, precision="auto")
                except InputError as error:
                    raise Refused(str(error), 422) from None
                own = [other for other in self._loaded if other.startswith("save:")]
                if len(own) >= MOST_LOADED:
                    del self._loaded[own[0]]
                self._loaded[name] = changed, upscaler
            return self._loaded[name][1]

    def is_controllable(self, name: str) -> bool:
        """Whether CMSR's map can be shown: a scale table is there, and the model has modulations."""
        return self.find(name).table is not None and isinstance(self.upscaler(name).model, LMFDecoder)

    @cached_property
    def _fixed(self) -> dict[str, Entry]:
        """The filters and the shipped models, by name."""
        known = [Entry(name, label, name) for name, label in FILTERS.items()]
        known += [Entry(name, label, source) for name, (label, source) in SHIPPED.items()]
        return {entry.name: entry for entry in known if entry.name in FILTERS or (PROJECT / entry.source).exists()}

    def _path(self, entry: Entry) -> Path:
        return (
            self._save / entry.name.removeprefix("save:") if entry.name.startswith("save:") else PROJECT / entry.source
        )
