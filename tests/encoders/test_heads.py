from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import nn

from nearfar.encoders import first_layers, load_head, save_head
from nearfar.errors import InputError, RunError
from nearfar.nn import mlp
from tests.samples import pictures, train


def moved(head: nn.Sequential) -> nn.Sequential:
    """Give BatchNorm statistics that are not those of a fresh layer."""
    torch.manual_seed(0)
    head.train()(torch.randn(64, 6) * 3 + 1)
    return head.eval()


def test_a_head_comes_back_as_it_was(tmp_path: Path) -> None:
    head = moved(mlp(6, 5, 4, layers=3, last_norm=True, last_affine=False))
    assert save_head(tmp_path, head)
    found = load_head(tmp_path)
    assert found is not None
    x = torch.randn(7, 6)
    assert torch.equal(found(x), head(x))


@pytest.mark.parametrize(("count", "modules"), [(0, 0), (1, 3), (2, 6), (3, 8)])
def test_a_layer_is_a_linear_map_with_what_follows_it(count: int, modules: int) -> None:
    head = moved(mlp(6, 5, 4, layers=3, last_norm=True))
    part, x = first_layers(head, count), torch.randn(7, 6)
    assert len(part) == modules
    expected = x
    for layer in list(head)[:modules]:
        expected = layer(expected)
    assert torch.equal(part(x), expected)


def test_more_layers_than_there_are() -> None:
    with pytest.raises(InputError, match="head: from-layer must be from 0 to 2, the layers of the head, got 3"):
        first_layers(mlp(6, 5, 4), 3)


def test_what_is_no_plain_stack_is_not_kept(tmp_path: Path) -> None:
    class Own(nn.Module):
        pass

    assert not save_head(tmp_path, nn.Sequential(nn.Linear(3, 3), Own()))
    assert not save_head(tmp_path, nn.Identity())
    assert load_head(tmp_path) is None
    assert list(tmp_path.iterdir()) == []


def test_damaged_files_are_said(tmp_path: Path) -> None:
    save_head(tmp_path, mlp(6, 5, 4))
    card = tmp_path / "head.json"
    values = json.loads(card.read_text())
    values["layers"][0]["in"] = 7
    card.write_text(json.dumps(values))
    with pytest.raises(RunError, match=r"head\.safetensors: does not fit head\.json"):
        load_head(tmp_path)
    values["layers"][0]["kind"] = "os.system"
    card.write_text(json.dumps(values))
    with pytest.raises(RunError, match="must be of a known kind"):
        load_head(tmp_path)


def test_a_run_keeps_its_head(tmp_path: Path) -> None:
    run = train(pictures()[0], tmp_path / "run", method="simclr-v2", epochs=1)
    head = load_head(run.path)
    assert head is not None
    assert [type(layer).__name__ for layer in head] == ["Linear", "BatchNorm1d", "ReLU"] * 2 + ["Linear", "BatchNorm1d"]
