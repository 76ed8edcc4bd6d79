"""Requests made up from the service's own description, right ones and wrong ones: none may end in a 5xx."""

from __future__ import annotations

import threading

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode

from nearfar.indexing import open_index
from nearfar.serving import Limits, Store
from nearfar.serving.app import create_app
from nearfar.serving.server import Server
from nearfar.serving.service import Service
from tests.serving.service import encoder, write_index


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    path = write_index(tmp_path_factory.mktemp("schema") / "index")
    limits = Limits(rate=0)
    store = Store(open_index(path), path)
    app = create_app(Service(store, encoder=encoder(limits), limits=limits))
    server = Server(app, host="127.0.0.1", port=0, limits=limits)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        thread.join(0.02)
    yield server.address
    server.should_exit = True
    thread.join(10)


def check_all(address, examples):
    described = schemathesis.openapi.from_url(f"{address}/openapi.json")
    seen: dict[str, set[int]] = {}
    for result in described.get_all_operations():
        operation = result.ok()
        for mode in GenerationMode:
            if mode.is_negative and not (operation.body or operation.query or operation.path_parameters):
                continue
            try_one = settings(
                max_examples=examples, deadline=None, derandomize=True, database=None,
                suppress_health_check=list(HealthCheck), phases=[Phase.generate],
            )(given(case=operation.as_strategy(generation_mode=mode))(_one(operation.label, seen)))  # fmt: skip
            try_one()
    assert len(seen) >= 9
    assert any(200 in codes for codes in seen.values())
    assert any(422 in codes for codes in seen.values())


def _one(label, seen):
    def one(case):
        reply = case.call(timeout=20)
        assert reply.status_code < 500, reply.text
        seen.setdefault(label, set()).add(reply.status_code)

    return one


def test_no_request_of_the_description_ends_in_a_5xx(address):
    check_all(address, 4)


@pytest.mark.slow
def test_no_request_of_the_description_ends_in_a_5xx_in_many_tries(address):
    check_all(address, 150)
