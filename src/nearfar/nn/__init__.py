"""Parts that methods share: heads, and the state they keep. Imports torch and `nearfar.errors` only."""

from nearfar.nn.heads import mlp

__all__ = ["mlp"]
