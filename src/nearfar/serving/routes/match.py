"""Same or not: the label of what is nearest, or "unknown" beyond a cut-point of the index's calibration."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from pydantic import Field
from starlette.responses import JSONResponse, Response

from nearfar.evaluation.distance_calibration import Calibration
from nearfar.indexing import Id, Neighbours
from nearfar.searching import Results, check_fingerprint
from nearfar.searching.match import match_hits
from nearfar.searching.stored import kept_calibration
from nearfar.serving.encoding import Encoder
from nearfar.serving.refusal import Refused
from nearfar.serving.routes.parts import as_vectors, binary_body, body_of
from nearfar.serving.schemas import Fingerprint, K, Label, Model, Vector, failures
from nearfar.serving.service import Asked, Service

__all__ = ["match_routes"]

Vote = Literal["nearest", "majority"]
Target = Annotated[str | None, Field(max_length=200, description="A target that was calibrated for: precision=0.99.")]
Distance = Annotated[float | None, Field(allow_inf_nan=False, description="A largest distance, in place of a target.")]


class MatchVectors(Model):
    """Ask what one vector or more are."""

    vectors: list[Vector] = Field(min_length=1)
    target: Target = None
    within: Distance = None
    vote: Vote = Field("nearest", description="The label of the nearest, or of most of the k nearest within the cut.")
    k: K = 10
    fingerprint: Fingerprint = None


class MatchText(Model):
    """Ask what a text is."""

    text: Annotated[str, Field(min_length=1, max_length=100_000)]
    target: Target = None
    within: Distance = None
    vote: Vote = "nearest"
    k: K = 10


class Match(Model):
    """The answer to one query."""

    query: str | int
    label: Label = Field(description="Null where it is unknown, or the item that matched has none.")
    known: bool = Field(description="Whether an item lies within the cut-point.")
    id: str | int | None = Field(description="Of the item that speaks for the answer, or the nearest of all.")
    distance: float | None
    confidence: float | None = Field(description="How likely an answer at that distance is right; null if unknown.")
    votes: int


class Matches(Model):
    """The answers to all queries."""

    metric: str
    cut: float | None = Field(description="The largest distance accepted; null where none is.")
    matches: list[Match]


def match_routes(service: Service) -> APIRouter:
    """Return the routes under ``/v1/match``."""
    router = APIRouter(prefix="/v1/match", tags=["match"])

    @router.post("/vector", response_model=Matches, responses=failures(409), summary="Match vectors")
    async def by_vector(body: MatchVectors) -> Response:
        check_fingerprint(service.store.index, body.fingerprint)
        service.check_rows(len(body.vectors))
        cut, calibration = _cut(service, body.target, body.within)
        asked = Asked(as_vectors(service, body.vectors), _depth(body.vote, body.k))
        found = await service.search(asked)
        return _answer(service, list(range(len(asked.vectors))), found, cut, calibration, body.vote)

    if service.encoder is not None and service.encoder.kind == "text":
        _by_text(router, service)
    elif service.encoder is not None:
        _by_content(router, service, service.encoder)
    return router


def _by_text(router: APIRouter, service: Service) -> None:
    @router.post("/text", response_model=Matches, responses=failures(409), summary="Match a text")
    async def by_text(body: MatchText) -> Response:
        cut, calibration = _cut(service, body.target, body.within)
        vectors = await service.embed(body.text.encode("utf-8", "replace"))
        found = await service.search(Asked(vectors, _depth(body.vote, body.k)))
        return _answer(service, ["text"], found, cut, calibration, body.vote)


def _by_content(router: APIRouter, service: Service, encoder: Encoder) -> None:
    @router.post(
        f"/{encoder.kind}", response_model=Matches, responses=failures(409, 415), openapi_extra=binary_body(encoder),
        summary=f"Match one {encoder.kind}", description="The body is the file itself.",
    )  # fmt: skip
    async def by_content(
        request: Request,
        target: Annotated[str | None, Query(max_length=200)] = None,
        within: Annotated[float | None, Query(allow_inf_nan=False)] = None,
        vote: Vote = "nearest",
        k: Annotated[int, Query(ge=1, le=100_000)] = 10,
    ) -> Response:
        cut, calibration = _cut(service, target, within)
        vectors = await service.embed(await body_of(request))
        found = await service.search(Asked(vectors, _depth(vote, k)))
        return _answer(service, [encoder.kind], found, cut, calibration, vote)


def _cut(service: Service, target: str | None, within: float | None) -> tuple[float, Calibration | None]:
    """Return the largest distance accepted, and the calibration if there is one.

    Raises:
        Refused: 409 when the index was not calibrated and no distance is given.
        InputError: when there is no cut-point for the target.
    """
    calibration = kept_calibration(service.store.index)
    if within is not None:
        return within, calibration
    if calibration is None:
        raise Refused(409, "match: the index has no cut-points; calibrate it, or give a distance as within")
    return float(calibration.cut(target).cut), calibration


def _depth(vote: Vote, k: int) -> int:
    return 1 if vote == "nearest" else k


def _answer(
    service: Service,
    queries: list[Id],
    found: Neighbours,
    cut: float,
    calibration: Calibration | None,
    vote: Vote,
) -> JSONResponse:
    metric = service.store.index.metric
    matches = match_hits(Results.of(metric, queries, found), cut, calibration=calibration, vote=vote)
    content: dict[str, Any] = {
        "metric": metric,
        "cut": cut if math.isfinite(cut) else None,
        "matches": [one._asdict() for one in matches],
    }
    return JSONResponse(content)
