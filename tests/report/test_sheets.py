import numpy as np
import pytest

from nearfar.errors import InputError
from nearfar.report import Neighbour, Query, neighbours_sheet, sheet, views_sheet
from nearfar.report.sheets import GAP, INK, LINE, RIGHT, WRONG


def rgb(colour: str) -> tuple[int, ...]:
    return tuple(int(colour[n : n + 2], 16) for n in (1, 3, 5))


def test_tiny_pictures_are_enlarged_by_whole_pixels_and_stand_where_they_belong():
    images = np.zeros((3, 8, 8), dtype=np.uint8)
    images[0], images[1], images[2] = 10, 20, 30
    images[2, 0, 0] = 200
    drawn = sheet(images, columns=2, scale=5)
    assert drawn.size == (2 * (40 + GAP) + GAP, 2 * (40 + GAP) + GAP)
    got = np.asarray(drawn)
    assert (got[GAP : GAP + 40, GAP : GAP + 40] == 10).all()
    assert (got[GAP : GAP + 40, 2 * GAP + 40 : 2 * GAP + 80] == 20).all()
    third = got[2 * GAP + 40 : 2 * GAP + 80, GAP : GAP + 40]
    assert (third[:5, :5] == 200).all()
    assert (third[5:, 5:] == 30).all()
    assert (got[2 * GAP + 40 :, 2 * GAP + 40 :] == 255).all()


def test_without_scale_all_pictures_share_one_factor_and_large_ones_shrink():
    drawn = sheet([np.zeros((8, 8)), np.zeros((16, 16))], columns=2)
    assert drawn.size[1] == 96 + 2 * GAP
    photograph = sheet([np.zeros((600, 800, 3), dtype=np.uint8)], columns=1)
    assert photograph.size == (224 + 2 * GAP, 168 + 2 * GAP)


def test_captions_make_room_for_their_lines_and_long_ones_are_cut():
    plain = sheet(np.zeros((1, 8, 8)), 1)
    texts = ["one\nfar too long a line for a picture of so few pixels"]
    lettered = sheet(np.zeros((1, 8, 8)), 1, texts)
    assert lettered.size == (plain.size[0], plain.size[1] + 2 * LINE)
    right_margin = np.asarray(lettered)[:, -GAP:]
    assert (right_margin == 255).all()
    assert not (np.asarray(lettered)[plain.size[1] - GAP :] == 255).all()


def test_views_stand_in_the_row_of_their_original_at_its_size():
    originals = np.stack([np.full((8, 8), 40, dtype=np.uint8), np.full((8, 8), 80, dtype=np.uint8)])
    first = np.stack([np.full((8, 8, 1), 0.2), np.full((8, 8, 1), 0.4)])
    second = np.stack([np.full((4, 4, 1), 0.6), np.full((4, 4, 1), 0.8)])
    drawn = np.asarray(views_sheet(originals, [first, second], scale=2))
    centres = [
        [int(drawn[8 + GAP + r * (16 + GAP + LINE), 8 + GAP + c * (16 + GAP), 0]) for c in range(3)] for r in (0, 1)
    ]
    assert centres == [[40, 51, 153], [80, 102, 204]]


def test_views_with_captions_and_a_value_range():
    views = [np.zeros((2, 8, 8, 3), dtype=np.float32)]
    drawn = views_sheet(np.zeros((2, 8, 8)), views, [["crop 1", "crop 2"]], value_range=(-1, 1))
    assert np.asarray(drawn)[GAP + 48, GAP + 104 + 48].tolist() == [128, 128, 128]
    with pytest.raises(InputError, match="captions of each view must be 2 texts"):
        views_sheet(np.zeros((2, 8, 8)), views, [["only one"]])
    with pytest.raises(InputError, match="length of each view"):
        views_sheet(np.zeros((3, 8, 8)), views)


def test_right_and_wrong_neighbours_differ_without_colour():
    picture = np.zeros((32, 32), dtype=np.uint8)

    def frame(right: bool | None) -> np.ndarray:
        drawn = neighbours_sheet([Query(picture, [Neighbour(picture, 0.5, "a", right=right)], "a")], scale=3)
        top = np.asarray(drawn)[GAP]
        return top[top.shape[0] // 2 :]

    whole, broken = frame(True), frame(False)
    assert (whole == rgb(RIGHT)).all(axis=1).sum() == 104
    marked = (broken == rgb(WRONG)).all(axis=1)
    assert 0 < marked.sum() < 104
    changes = np.count_nonzero(np.diff(marked.astype(int)))
    assert changes > 10
    assert not (frame(None) == rgb(RIGHT)).all(axis=1).any()


def test_rows_of_unequal_length_and_other_scripts_are_drawn():
    picture = np.zeros((8, 8), dtype=np.uint8)
    queries = [
        Query(picture, [Neighbour(picture, 0.1, "Ж", "x"), Neighbour(picture, 0.2, "数")], "a"),
        Query(picture, []),
    ]
    drawn = np.asarray(neighbours_sheet(queries))
    assert drawn.shape[1] == 3 * (96 + GAP) + GAP
    assert (drawn == rgb(INK)).all(axis=2).any()


def test_bad_input_is_refused_in_a_sentence():
    with pytest.raises(InputError, match="at least one"):
        sheet([], 3)
    with pytest.raises(InputError, match="columns must be >= 1"):
        sheet(np.zeros((1, 8, 8)), 0)
    with pytest.raises(InputError, match="2 texts"):
        sheet(np.zeros((2, 8, 8)), 1, ["one"])
    with pytest.raises(InputError, match="fewer pictures"):
        sheet(np.zeros((1, 8, 8)), 1, scale=100_000 // 8)
