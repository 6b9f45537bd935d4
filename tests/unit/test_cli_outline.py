"""JSON as pages: nothing is lost, and nothing in the data is taken for markup."""

from __future__ import annotations

from cutover.cli.outline import Facts, Grid, Heading, outline, to_html, to_markdown
from cutover.cli.show import clean, moment, rows, rows_differ, span

EVIDENCE = {
    "generated_at": "2026-01-31T12:00:00.000Z",
    "ok": True,
    "nothing": None,
    "empty": [],
    "position": {"phase": "promoted", "epoch": 2},
    "tables": [{"name": "posts", "rows": 20_000}, {"name": "users", "drift": {"missing": 1}}],
    "problems": ["one", "two"],
}


def test_every_member_has_its_place() -> None:
    assert outline(EVIDENCE) == [
        Facts((("generated at", "2026-01-31T12:00:00.000Z"), ("ok", "yes"), ("nothing", "none"), ("empty", "none"))),
        Heading(1, "position"),
        Facts((("phase", "promoted"), ("epoch", "2"))),
        Heading(1, "tables"),
        Grid(("name", "rows", "drift"), (("posts", "20,000", "none"), ("users", "none", "missing: 1"))),
        Heading(1, "problems"),
        Facts((("1", "one"), ("2", "two"))),
    ]


def test_data_is_no_markup() -> None:
    blocks = outline({"<script>x": "<b>&amp;</b>", "rows": [{"a|b": "*c* | `d`\n# e"}]})
    page = to_html("<title>", blocks)
    assert "<script>" not in page
    assert "<b>" not in page
    assert "&lt;b&gt;&amp;amp;&lt;/b&gt;" in page
    text = to_markdown("t", blocks)
    assert r"| \*c\* \| \`d\`\\n\# e |" in text
    assert r"\<b\>" in text


def test_terminals_are_not_steered() -> None:
    assert clean("\x1b]0;x\x07\r\n\u202e\u2066\u200b\x9b\ud800ü ok") == (
        r"\x1b]0;x\x07\r\n\u202e\u2066\u200b\x9b\ud800ü ok"
    )
    assert clean("x" * 500) == f"{'x' * 400}… (500 characters)"
    assert clean(None) == "NULL"
    assert clean({"base64": "AA=="}) == '{"base64": "AA=="}'


def test_figures_as_people_say_them() -> None:
    assert [rows(count) for count in (0, 1, 1200)] == ["0 rows", "1 row", "1,200 rows"]
    assert [rows_differ(count) for count in (0, 1, 1200)] == ["no row differs", "1 row differs", "1,200 rows differ"]
    assert [span(x) for x in (0.08, 5, 600, 9000)] == ["80 ms", "5.0 s", "10 min", "2.5 h"]
    assert moment("2026-01-31T12:00:00.123Z") == moment(1769860800.123) == "2026-01-31 12:00:00"
    assert moment("never") == "never"
