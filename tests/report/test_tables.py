import io

import pytest
from rich.console import Console

from nearfar.errors import InputError
from nearfar.report import Column, MeanSd, Table, to_html, to_markdown, to_rich

COLUMNS = [
    Column("encoder"),
    Column("kNN", "1 label", better="higher", digits=1, percent=True),
    Column("linear", "1 label", better="higher", digits=1, percent=True),
    Column("time", better="lower", digits=2, unit="s"),
    Column("images"),
]
ROWS = [
    ["raw pixels", MeanSd(0.471, 0.03), 0.5, 1.0, 1797],
    ["pretrained", MeanSd(0.7849, 0.0211), 0.50001, None, 12000],
]
TABLE = Table(COLUMNS, ROWS, "Accuracy", ["kNN: k = 20"])


def terminal(table: Table) -> str:
    console = Console(file=io.StringIO(), width=160)
    console.print(to_rich(table))
    return console.file.getvalue()


def test_long_texts_are_wrapped_and_short_ones_are_not():
    html = to_html(Table([Column("row"), Column("said")], [["a", "word " * 20], ["b", "word"]]))
    assert html.count('<td class="long">') == 1


def test_markdown():
    assert to_markdown(TABLE) == (
        "**Accuracy**\n\n"
        "| encoder | 1 label: kNN [%] | 1 label: linear [%] | time [s] | images |\n"
        "| --- | ---: | ---: | ---: | ---: |\n"
        "| raw pixels | 47.1 ± 3.0 | 50.0 | 1.00 | 1,797 |\n"
        "| pretrained | **78.5 ± 2.1** | 50.0 | – | 12,000 |\n"
        "\n- kNN: k = 20\n"
    )


def test_terminal_shows_the_same_cells_and_stars_the_best():
    text = terminal(TABLE)
    for part in ("Accuracy", "47.1 ± 3.0", "*78.5 ± 2.1", "12,000", "–", "kNN: k = 20", "* best of its column"):
        assert part in text
    assert text.count("*") == 2


def test_html_marks_headings_groups_and_the_best():
    text = to_html(TABLE)
    assert '<th scope="colgroup" colspan="2">1 label</th>' in text
    assert '<th scope="row">pretrained</th>' in text
    best = '<strong>78.5<span class="sd"> ± 2.1</span></strong><span class="unseen"> (best)</span>'
    assert f'<td class="number best">{best}</td>' in text
    assert text.count("<strong>") == 1


def test_best_counts_what_looks_equal_and_leaves_out_what_is_no_number():
    columns = [Column("x", better="lower", digits=1)]
    assert Table(columns, [[1.04], [1.01], [2.0], [None], [float("nan")], ["text"]]).best() == {(0, 0), (1, 0)}
    assert Table(columns, [[1.0], [1.0]]).best() == set()
    assert Table(columns, [[1.0], [None]]).best() == set()
    assert Table([Column("x", better="higher")], [[MeanSd(0.5, 0.4)], [0.6]]).best() == {(1, 0)}


def test_text_is_harmless_in_every_form():
    evil = "<script>alert(1)</script> | [bold]*x*"
    table = Table([Column(evil, evil), Column("n", better="higher")], [[evil, 1], [evil, 2]], evil, [evil])
    assert "<script" not in to_html(table)
    assert "&lt;script&gt;" in to_html(table)
    markdown = to_markdown(table)
    assert "<script" not in markdown
    row = markdown.splitlines()[4]
    assert row.replace("\\|", "").count("|") == 3
    assert "[bold]" in terminal(table)


def test_a_row_of_another_length_is_refused():
    with pytest.raises(InputError, match="one cell a column"):
        Table(COLUMNS, [["raw pixels"]])
