"""The report's tables: what they hold, and what is said of one that can't be used."""

import csv
import os
from dataclasses import asdict

import pytest

from models.complexity import measure
from pipeline.config import REPORT_PROMPTS, resolve
from pipeline.errors import InputError
from pipeline.report.table import DATA, REPORT_SYMBOLS, read_table, report_table, rounds_to

PARAMETERS_AND_MACS = {  # print-outs of ptflops in the report, and the GRU 1x128 that its Figure 15 should have shown
    ("rnn", 1, 128): (20_224, 20_840_448),
    ("lstm", 1, 128): (80_896, 84_148_224),
    ("gru", 1, 32): (5_952, 6_324_224),
    ("gru", 1, 128): (60_672, 63_045_632),
    ("gru", 2, 32): (12_288, 13_041_664),
    ("lstm", 2, 32): (16_384, 17_432_576),
    ("gru", 2, 128): (159_744, 165_412_864),
    ("gru", 8, 32): (50_304, 53_346_304),
    ("lstm", 2, 128): (212_992, 220_725_248),
    ("lstm", 8, 32): (67_072, 71_303_168),
}
HEAD = "id,implementation,cell,num_layers,hidden_size,params_reported,mmac_reported,sample_it_has"


@pytest.fixture
def table_of(tmp_path):
    def written(*lines, head=HEAD):
        path = tmp_path / "other.csv"
        path.write_text("\n".join([head, *lines]) + "\n", encoding="utf-8")
        return read_table(path)

    return written


def test_the_report_has_17_configurations():
    assert len(report_table().rows) == len({row.id for row in report_table().rows}) == 17


def test_an_id_says_the_configuration():
    for row in report_table().rows:
        assert row.id == f"{row.cell}-{row.implementation}-{row.num_layers}x{row.hidden_size}"


def test_ptflops_measures_what_the_report_prints_for_every_shape():
    for (cell, num_layers, hidden_size), expected in PARAMETERS_AND_MACS.items():
        model, _ = resolve({"cell": cell, "num_layers": num_layers, "hidden_size": hidden_size})
        cost = measure(model, REPORT_SYMBOLS)
        assert (cost.report_parameters, cost.report_macs) == expected


def test_the_protocol_is_the_books():
    trained = {row.id: resolve({"preset": "report", **row.model})[1] for row in report_table().rows}
    rates = {"rnn-torch-1x128": 1.0, "gru-torch-1x128": 4.0, "lstm-torch-1x128": 4.0}
    for id, config in trained.items():
        scratch = "-scratch-" in id
        assert config.epochs == (50 if scratch else 100)
        assert config.learning_rate == (4.0 if scratch else rates.get(id, 2.0))
        assert (config.batch_size, config.clip, config.precision) == (1024, 1.0, "fp32")


def test_every_cell_of_the_csv_is_in_the_table():
    with (DATA / "reported.csv").open(newline="") as file:
        for cells, row in zip(csv.DictReader(file), report_table().rows, strict=True):
            assert [cells[f"sample_{prompt.replace(' ', '_')}"] for prompt in REPORT_PROMPTS] == [
                dict(row.samples).get(prompt, "") for prompt in REPORT_PROMPTS
            ]
            assert (cells["figures"], cells["gap_as_reported"]) == (";".join(row.figures), row.gap)
            for name in ("perplexity_end", "train_seconds_transcript", "train_seconds_prose"):
                assert cells[name] == "" if asdict(row)[name] is None else float(cells[name]) == asdict(row)[name]


def test_globs_choose_rows_in_the_tables_order():
    table = report_table()
    assert [row.id for row in table.chosen("lstm-torch-2x32, gru-torch-2x*")] == [
        "gru-torch-2x32",
        "lstm-torch-2x32",
        "gru-torch-2x128",
    ]
    assert table.chosen("*") == table.rows


@pytest.mark.parametrize("only", ["gru-9x9", "gru-torch-2x32,nothing", "", " , "])
def test_a_glob_that_names_nothing_is_refused_with_the_ids(only):
    with pytest.raises(InputError, match=r"--only .* is no configuration of the coursework report; it has gru-scratch"):
        report_table().chosen(only)


def test_another_table_needs_the_configuration_alone(table_of):
    table = table_of("mine,torch,gru,2,64", head="id,implementation,cell,num_layers,hidden_size")
    (row,) = table.rows
    assert (table.name, row.id, row.perplexity_end, row.samples, row.params) == (
        "other.csv",
        "mine",
        None,
        (),
        "",
    )
    assert table.digest != report_table().digest


def test_printed_sizes_agree_to_within_half_of_their_last_digit(table_of):
    rows = table_of("a,torch,gru,1,8,5952,,x", "b,torch,gru,1,9,20.22 k,1.5,", "c,torch,gru,1,10,1.3 M,2,").rows
    assert [row.agrees_on_parameters(5952) for row in rows] == [True, False, False]
    assert [row.agrees_on_parameters(20_224) for row in rows] == [False, True, False]
    assert [row.agrees_on_parameters(1_345_000) for row in rows] == [False, False, True]
    assert [row.agrees_on_macs(1_549_000) for row in rows] == [None, True, True]
    assert [row.samples for row in rows] == [(("it has", "x"),), (), ()]
    assert table_of("d,torch,gru,1,8,,,").rows[0].agrees_on_parameters(5952) is None


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("a,torch,gru,1,wide,,,", "line 2: hidden_size is 'wide'"),
        ("a,torch,tcn,1,8,,,", "line 2: cell is 'tcn'"),
        ("a,torch,gru,0,8,,,", "line 2: num_layers is 0"),
        ("a,torch,gru,1,8,many,,", "line 2: params_reported is 'many'"),
        ("a,torch,gru,1,8,,much,", "line 2: mmac_reported is 'much'"),
        ("a,torch,gru,1,8,,nan,", "line 2: mmac_reported is 'nan'; it must be a number above 0, or empty"),
        ("a,torch,gru,1,8,,inf,", "line 2: mmac_reported is 'inf'"),
        ("a,torch,gru,1,8,,-6.3,", "line 2: mmac_reported is '-6.3'"),
        (f"a,torch,gru,1,8,,,{200_000 * 'x'}", "no table of comma-separated values: field larger"),
        (",torch,gru,1,8,,,", "line 2: id is empty"),
        ("a,torch,gru,1,8,,,\na,torch,gru,1,9,,,", "an id twice"),
        ("", "no rows"),
    ],
)
def test_a_table_that_can_not_be_used_says_where(table_of, line, words):
    with pytest.raises(InputError, match=words):
        table_of(line)


def test_a_table_without_a_column_or_without_a_file_is_refused(table_of, tmp_path):
    with pytest.raises(InputError, match="has no column cell, num_layers"):
        table_of("a,torch,8", head="id,implementation,hidden_size")
    with pytest.raises(InputError, match=r"--against .*missing\.csv can't be read \(No such file"):
        read_table(tmp_path / "missing.csv")


def test_a_table_that_is_too_large_or_no_file_is_refused_at_once(table_of, tmp_path):
    rows = [f"{number},torch,gru,1,8" for number in range(1001)]
    head = "id,implementation,cell,num_layers,hidden_size"
    assert len(table_of(*rows[:1000], head=head).rows) == 1000
    with pytest.raises(InputError, match="has more than 1,000 rows; give fewer configurations"):
        table_of(*rows, head=head)
    os.truncate(tmp_path / "other.csv", 100 * 10**9)
    with pytest.raises(InputError, match="has more than 1,000,000 bytes; give a smaller file"):
        read_table(tmp_path / "other.csv")
    os.mkfifo(tmp_path / "pipe.csv")
    with pytest.raises(InputError, match="is not a regular file; give a file"):
        read_table(tmp_path / "pipe.csv")


@pytest.mark.parametrize(
    ("number", "text", "agrees"),
    [(20.224, "22", False), (20.224, "20", True), (80.896, "80.9", True), (5.952, "5.95", True), (5.96, "5.95", False)],
)
def test_a_printed_number_agrees_to_its_last_digit(number, text, agrees):
    assert rounds_to(number, text) == agrees


def test_the_reports_configurations_have_macs_of_their_shape():
    assert len(set(report_table().rows)) == 17
    macs = {(one.cell, one.num_layers, one.hidden_size): one.macs_per_char for one in report_table().rows}
    assert macs["rnn", 1, 128] == 128 * (28 + 128 + 2) + 128 + 129 * 28
    assert max((size, shape) for shape, size in macs.items())[1] == ("lstm", 1, 1024)


def test_a_label_is_made_of_the_shape_unless_the_id_is_another(table_of):
    assert [row.label for row in table_of("gru-scratch-1x32,scratch,gru,1,32,,,", "mine,torch,lstm,2,8,,,").rows] == [
        "GRU scratch 1x32",
        "mine",
    ]
