"""Tables as values: one value, rendered by terminals and by pages."""

import dataclasses

import pytest
from report_bundles import mapped_denoiser

from s5_to_loihi import bundle
from s5_to_loihi.profiling.activity import record
from s5_to_loihi.profiling.profile import fitting, profile_recording, recorded_tokens
from s5_to_loihi.profiling.quantity import Origin, Quantity
from s5_to_loihi.reports.html.page import Page, Section, rendered
from s5_to_loihi.reports.numbers import in_words, with_range
from s5_to_loihi.reports.profile_tables import term_table
from s5_to_loihi.reports.table import Cell, Mark, Names, Number, Span, of_rows, share, table
from s5_to_loihi.reports.terminal import rendered as on_terminal

TIME = Quantity(0.02661, 0.0111, 0.0408, "us", "a test", Origin.MODELLED, "a test")


def printed(shown, width=200):
    return on_terminal(shown, width).plain.split("\n")


def page_of(shown):
    return rendered(Page("p", "s", "a", "v", "d", (Section("n", "t", (shown,)),)))


def test_terminal_and_page_say_the_same():
    shown = of_rows(
        "A title",
        ("row", "time # nJ", "mes\u00adsages #", "+only on pages", "names"),
        [
            ("a", dataclasses.replace(TIME, unit="uJ"), 12_345, "roomy", Names(("x", "y", "x"))),
            ("b", "-", Cell(0, Mark.BAD), "", Names(("z",))),
        ],
    )
    assert printed(shown) == [
        "",
        "A title",
        "                      mes-",
        "row        time, nJ  sages names",
        "a   26.6 (11 to 41) 12,345 x and 2 more",
        "b                 -      0 z",
    ]
    html = page_of(shown)
    for words in ("26.6 (11.1\u00a0to\u00a040.8)", "12,345", "roomy", "x, y", "time, nJ"):
        assert words in html
    assert 'class="number bad"' in html


@pytest.mark.parametrize(
    ("content", "terminal", "page"),
    [
        (Number(12.345, 1, "%"), "12.3%", "12.3 %"),
        (Number(1234.5, 1), "1,234.5", "1,230"),
        (Span(-1200, 7), "-1200..7", "-1,200 to 7"),
        (Names(("a", "b", "b")), "a and 2 more", "a, b"),
        (1_000_000, "1,000,000", "1,000,000"),
        (TIME, "0.0266 µs (0.011 to 0.041)", "0.0266 µs (0.0111 to 0.0408)"),
    ],
)
def test_cells_take_the_room_that_there_is(content, terminal, page):
    assert Cell(content).words("", narrow=True) == terminal
    assert Cell(content).words("", narrow=False) == page


@pytest.mark.parametrize(
    ("value", "unit", "words"),
    [
        *((2.5e6, "us", "2.50 s"), (2500.0, "us", "2.50 ms"), (0.5, "us", "0.500 µs")),
        *((3e6, "uJ", "3 J"), (0.5, "uJ", "0.500 µJ"), (512e3, "tokens/s", "512 k tokens/s")),
        *((12.0, "x", "12 ×"), (0.1, "W", "0.100 W"), (0.0, "us", "0 µs")),
    ],
)
def test_units_are_written_with_their_signs(value, unit, words):
    exact = dataclasses.replace(TIME, value=value, low=value, high=value, unit=unit)
    assert with_range(exact) == words


def test_a_column_names_the_unit_of_its_cells():
    assert Cell(TIME).words("µs", narrow=True) == "0.0266 (0.011 to 0.041)"
    assert Cell(TIME, ranged=False).words("µs", narrow=True) == "0.0266"
    assert in_words(dataclasses.replace(TIME, unit="uJ"), "nJ").value == "26.6"


def test_every_row_has_all_columns():
    with pytest.raises(ValueError, match="has not 2 cells"):
        of_rows("t", ("a", "b"), [("only one",)])


def test_a_table_of_records_reads_each_column_from_them():
    made = table("t", [1, 2], {"n #": lambda n: n, "half #": lambda n: share(n / 2)})
    assert [[cell.words("", True) for cell in row.cells] for row in made.rows] == [
        ["1", "50%"],
        ["2", "100%"],
    ]
    assert made.columns[0].number


def test_a_mode_that_waits_for_its_terms_in_another_order_shows_its_own(tmp_path):
    opened = bundle.read(mapped_denoiser(tmp_path))
    recording = record(opened.network, recorded_tokens(opened))
    profile = profile_recording(opened.network, recording, *fitting(opened.mapping, None))
    modes = list(profile.modes.values())
    turned = [modes[0], dataclasses.replace(modes[1], terms=modes[1].terms[::-1])]
    assert term_table(turned) == term_table(modes)
