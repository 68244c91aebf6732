"""A reproduction in words: the note of its run, and what the commands print."""

from pipeline.report.checks import checks
from pipeline.report.page.summary import reproduction_note, reproduction_table
from tests.report.page.pages import of_few, with_runs
from tests.report.reproductions import cut


def test_the_note_and_the_printed_table_have_a_row_for_each_configuration():
    made = of_few("gru-torch-2x32", "rnn-torch-1x128", "lstm-torch-2x32", seeds=2)
    made = with_runs(made, "rnn-torch-1x128", ())
    made = with_runs(made, "lstm-torch-2x32", (cut(made["lstm-torch-2x32"].runs[0], 12),))
    held = checks(made)
    note, printed = reproduction_note(made, (), held), reproduction_table(made, (), held, "report.html", "link")
    best = min(made["gru-torch-2x32"].runs[0].val)
    for text in (note, printed):
        rows = {line.strip("| ").split()[0]: line for line in text.splitlines() if "torch-" in line}
        assert "2 seeds, 100 epochs" in rows["gru-torch-2x32"]
        assert f"{best * 1.005:.1f}" in rows["gru-torch-2x32"]
        assert "not run" in rows["rnn-torch-1x128"]
        assert "12 of 100 epochs" in rows["lstm-torch-2x32"]
        assert "quick check" not in text
        assert "statements" not in text
    assert printed.splitlines()[-2:] == ["report  report.html", "link"]
