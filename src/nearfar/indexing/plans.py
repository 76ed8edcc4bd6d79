"""What an approximate index is made of: chosen from the number of vectors, their length and the target recall."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

from nearfar.errors import require

__all__ = ["CODES", "KINDS", "Codes", "Kind", "Plan", "choose"]

Kind = Literal["auto", "flat", "hnsw", "ivf"]
Codes = Literal["auto", "float", "int8", "pq", "binary"]
KINDS: tuple[Kind, ...] = get_args(Kind)
CODES: tuple[Codes, ...] = get_args(Codes)

FLAT_NUMBERS = 4_000_000
"""Up to so many numbers in all (31,250 vectors of 128) an exact search takes a millisecond; nothing is approximated."""


@dataclass(frozen=True)
class Plan:
    """The structure of an index and how it is searched.

    Attributes:
        kind: ``flat`` compares with every vector; ``hnsw`` walks a graph of near neighbours (Malkov & Yashunin,
            https://arxiv.org/abs/1603.09320); ``ivf`` looks into the nearest of many cells (Jégou et al., "Product
            Quantization for Nearest Neighbor Search", 2011, https://doi.org/10.1109/TPAMI.2010.57).
        codes: how ``ivf`` keeps vectors for the first look: as they are, one byte per number (int8), a product
            quantiser of 4 bits per two numbers (pq), or one bit per number (binary: RaBitQ, https://arxiv.org/abs/2405.12497).
        nlist: cells of ``ivf``.
        nprobe: cells looked into.
        factor: candidates measured again from the vectors themselves, as a multiple of k; 1 where codes are exact.
        links: neighbours of each node of ``hnsw``.
        breadth: candidates ``hnsw`` keeps while it walks.
        recall: what was measured with these parameters; ``None`` before, and 1 for ``flat``.
        rough_recall: the same without measuring candidates again: what the codes alone would give.
    """

    kind: str = "flat"
    codes: str = "float"
    nlist: int = 0
    nprobe: int = 0
    factor: int = 1
    links: int = 0
    breadth: int = 0
    recall: float | None = None
    rough_recall: float | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the plan as JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, said: dict[str, Any]) -> Plan:
        """Read what ``to_json`` gave.

        Raises:
            TypeError, ValueError: when it is something else.
        """
        plan = cls(**said)
        if plan.kind not in KINDS or plan.codes not in CODES:
            raise ValueError(f"unknown plan {plan.kind!r} with {plan.codes!r}")
        if not all(isinstance(getattr(plan, name), int) for name in ("nlist", "nprobe", "factor", "links", "breadth")):
            raise ValueError("a plan whose counts are not whole numbers")
        return plan

    def words(self) -> str:
        """Say the plan in words."""
        if self.kind == "flat":
            return "flat: every vector is compared, recall 1"
        shape = (
            f"hnsw with {self.links} links, breadth {self.breadth}"
            if self.kind == "hnsw"
            else f"ivf of {self.nlist} cells, {self.nprobe} looked into, {self.codes} codes, "
            f"{self.factor} × k candidates measured again"
        )
        measured = "not measured" if self.recall is None else f"{self.recall:.4f}"
        rough = f" ({self.rough_recall:.4f} by the codes alone)" if self.rough_recall is not None else ""
        return f"{shape}; recall@10 measured {measured}{rough}"


def choose(count: int, dim: int, kind: Kind = "auto", codes: Codes = "auto") -> Plan:
    """Choose the structure; ``nprobe``, ``factor`` and ``breadth`` are tuned to the target recall afterwards.

    Cells: about 4 √N, at least 64 and at most 8,192, a power of two, each of 39 vectors or more (FAISS's own advice for
    training). ``int8`` is the default code: a quarter of the memory of float32, and its loss is nearly all made up by
    measuring twice k candidates again.
    """
    require(kind in KINDS, "index", "kind", f"one of {', '.join(KINDS)}", repr(kind))
    require(codes in CODES, "index", "codes", f"one of {', '.join(CODES)}", repr(codes))
    small = count * dim <= FLAT_NUMBERS
    if kind == "flat" or count < 1000 or (kind == "auto" and small):
        return Plan(recall=1.0)
    if kind == "hnsw":
        return Plan("hnsw", links=32, breadth=64)
    wanted = 4 * count**0.5
    nlist = 64
    while nlist * 1.5 < wanted and nlist < 8192 and nlist * 2 * 39 <= count:
        nlist *= 2
    nlist = min(nlist, max(1, count // 39))
    chosen = "int8" if codes == "auto" else codes
    return Plan("ivf", chosen, nlist=nlist, nprobe=1, factor=1)
