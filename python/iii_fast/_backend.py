"""The one place that chooses a backend by name. It never falls back: a missing extension is told, not worked around."""

from __future__ import annotations

import importlib.util

from iii_fast.contracts import EVERY_PAGE, Backend, Cors, Limits, Storage, TlsFiles
from iii_fast.errors import BackendMissingError, ConfigError

EXTENSION = "iii_fast._core"
IN_MEMORY = Storage()


def create_backend(
    name: str,
    limits: Limits,
    loops: int = 1,
    storage: Storage = IN_MEMORY,
    *,
    tls: TlsFiles | None = None,
    http_tls: TlsFiles | None = None,
    cors: Cors = EVERY_PAGE,
) -> Backend:
    """Makes the data plane called ``name`` (``native`` or ``reference``).

    ``loops`` is the number of reactor threads and means something to ``native`` only; ``storage`` is touched when the
    backend is opened. With ``tls`` workers are accepted encrypted, with ``http_tls`` http clients are. Pages of the
    origins in ``cors`` may read http responses. Raises ``BackendMissingError`` when the extension is not installed,
    ``ConfigError`` for an unknown name, loops the backend cannot have, or files of either that cannot be used.
    """
    if name == "reference":
        if loops != 1:
            raise ConfigError(f"loops is {loops}, but the reference backend runs in one loop: leave it at 1")
        if storage.redis is not None:
            raise ConfigError("the state adapter `redis` needs the native backend: leave out --backend reference")
        from iii_fast.reference.backend import ReferenceBackend

        return ReferenceBackend(limits, storage=storage, tls=tls, http_tls=http_tls, cors=cors)
    if name == "native":
        _check_extension()
        from iii_fast.native import NativeBackend

        return NativeBackend(limits, loops, storage=storage, tls=tls, http_tls=http_tls, cors=cors)
    raise ConfigError(f"unknown backend {name!r}, expected 'native' or 'reference'")


def _check_extension() -> None:
    # Asked of the finder, not caught from the import: an error inside the extension must not look like its absence.
    if importlib.util.find_spec(EXTENSION) is None:
        raise BackendMissingError(
            f"The native backend needs the extension {EXTENSION}, which is not built. Run `pip install .` (or "
            "`make build` in a checkout), or ask for the slower one by name: `--backend reference`."
        )
