"""Tonggan (通感): train, judge and serve your own cross-modal generator."""

import os
from typing import TYPE_CHECKING, Any

# On Intel's processors MKL's products depend on where in memory an operand lies, and a resumed run would not be the run it was. Read once, at the first product.
os.environ.setdefault("MKL_CBWR", "AUTO,STRICT")

if TYPE_CHECKING:
    from tonggan.pipeline import Tonggan

__version__ = "0.1.0"
__all__ = ["Tonggan", "__version__"]


def __getattr__(name: str) -> Any:
    """Import torch only when the model class is asked for."""
    if name == "Tonggan":
        from tonggan.pipeline import Tonggan

        return Tonggan
    raise AttributeError(f"module 'tonggan' has no attribute '{name}'")
