"""aiohttp's server without its client: 1 to 2.6 MB of memory that a small board keeps.

`aiohttp/__init__.py` imports the client, its connectors and their TLS contexts, of which a server uses nothing. Decides
only how that package is imported, in the process of a node; anything unusual about it, and it is imported as ever.
"""

from __future__ import annotations

import re
import sys
from importlib.util import find_spec, module_from_spec
from pathlib import Path

_VERSION = re.compile(r'^__version__(?:: \w+)? = "([\w.]+)"', re.MULTILINE)


def import_server() -> None:
    """Make `from aiohttp import web` import the server alone. Does nothing where aiohttp is imported already."""
    spec = None if "aiohttp" in sys.modules else find_spec("aiohttp")
    if spec is None or spec.origin is None or spec.submodule_search_locations is None:
        return
    version = _VERSION.search(Path(spec.origin).read_text(encoding="utf-8"))
    if version is None:
        return
    package = module_from_spec(spec)  # the package, but not what its __init__ would run
    package.__version__ = version[1]  # type: ignore[attr-defined]
    sys.modules["aiohttp"] = package
    try:
        from aiohttp import web  # noqa: F401
    except ImportError:
        for name in [name for name in sys.modules if name.partition(".")[0] == "aiohttp"]:
            del sys.modules[name]
