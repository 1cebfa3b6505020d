"""Tonggan (通感): train, judge and serve your own cross-modal generator."""

from typing import TYPE_CHECKING, Any

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
