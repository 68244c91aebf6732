"""The Time Machine lab in a script or a notebook: train, load, sample, evaluate and search.

>>> import tmlm
>>> model = tmlm.load("latest")

Everything is in pipeline/api.py; docs/usage.md has a table.
"""

from importlib.util import find_spec as _find_spec
from pathlib import Path as _Path

for _name in ("models", "pipeline"):  # before their import, which would run another program's code
    _spec, _ours = _find_spec(_name), _Path(__file__).resolve().parent / _name
    if _spec is not None:  # a folder without __init__.py has no origin
        _place = _spec.origin or next(iter(_spec.submodule_search_locations or ()))
        if _Path(_place).resolve() != _ours / "__init__.py":
            raise ImportError(
                f"{_place} hides the package {_name} of time-machine-lm ({_ours}): rename it, or start Python in "
                "another folder"
            )

from pipeline.api import *  # noqa: F403
from pipeline.api import __all__ as __all__
