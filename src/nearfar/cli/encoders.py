"""``nearfar encoders``."""

from __future__ import annotations

__all__ = ["encoders"]


def encoders(pattern: str = "", /) -> None:
    """List encoders: ours, and the timm models whose name matches a pattern.

    Args:
        pattern: such as "resnet*"; without one only our own are listed.
    """
    from nearfar.encoders import names
    from nearfar.progress import say, stdout

    for name in names(pattern):
        stdout.print(name, markup=False)
    if not pattern:
        say("and every timm model by name; list them with a pattern, such as: nearfar encoders 'resnet*'")
