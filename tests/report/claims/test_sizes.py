"""Evidence about sizes and times, by printed numbers and by MACs."""

from dataclasses import replace

from pipeline.report.claims.sizes import time_and_size, width_of
from tests.report.alterations import seconds_by_macs
from tests.report.reproductions import reproduction

FOUND = reproduction()


def test_time_measures_size_only_where_it_is_in_proportion_to_it():
    assert "gru-scratch-1x1024 has 3,352.3 times the MACs of gru-scratch-1x8 and took 1.0 times as long" in (
        time_and_size(FOUND)
    )
    assert time_and_size(FOUND).startswith("Time is no measure of complexity: ")
    assert time_and_size(seconds_by_macs(FOUND)).startswith("Time is in proportion to MACs, or nearly so: ")
    assert time_and_size(reproduction(quick=True)) == time_and_size(reproduction(0)) == ""


def test_a_printed_size_tells_the_width():
    table = {one.id: one for one in reproduction().table.rows}
    assert width_of(table["gru-torch-1x128"]) == 32
    printed = [one for one in table.values() if one.params and one.id != "gru-torch-1x128"]
    assert [width_of(one) for one in printed] == [one.hidden_size for one in printed]
    assert width_of(replace(table["gru-torch-1x128"], params="5.97 k")) is None
    assert width_of(replace(table["gru-torch-1x128"], params="")) is None
