"""Pictures of the report's page: they follow the record, and are valid SVG whatever a table's words are."""

import re
from dataclasses import replace
from xml.etree import ElementTree

from pipeline.report.page.pictures import STYLE, answer_picture, as_file, curves_picture
from pipeline.report.reproduction import Configuration
from pipeline.support.page.rendering import SHARED
from tests.report.page.pages import cut
from tests.report.reproductions import ENDS, reproduction

NGRAMS = {"letters": 16.89, "4-gram": 5.33}


def configuration(id: str, seeds: int = 3) -> Configuration:
    return reproduction(seeds, {id: ENDS[id]})[id]


def test_seeds_are_thin_lines_and_their_mean_a_thick_one():
    drawn = curves_picture(configuration("lstm-torch-1x128"), 100, NGRAMS).elements
    assert drawn.count('class="train seed"') == drawn.count('class="val seed"') == 3
    assert drawn.count('class="train"') == drawn.count('class="val"') == 1
    assert 'seed"' not in curves_picture(configuration("lstm-torch-1x128", 1), 100, NGRAMS).elements


def test_a_value_stands_where_the_axis_has_it():
    shown = configuration("gru-torch-2x32", 1)
    (run,) = shown.runs
    at_tick = replace(shown, runs=(replace(run, train=(*run.train[:-1], 5.0)),))
    root = ElementTree.fromstring(f"<svg>{answer_picture([at_tick], {}).elements}</svg>")
    (tick,) = [text.get("x") for text in root.iter("text") if text.text == "5"]
    (train,) = [circle.get("cx") for circle in root.iter("circle") if circle.get("class") == "train"]
    assert train == tick


def test_an_exploded_training_is_drawn_at_the_edge():
    shown = configuration("gru-torch-2x32", 1)
    (run,) = shown.runs
    exploded = replace(shown, runs=(replace(run, val=(float("inf"),) * 100),))
    for picture in (answer_picture([exploded], NGRAMS), curves_picture(exploded, 100, NGRAMS)):
        assert "inf" not in picture.elements
        assert "nan" not in picture.elements


def test_what_is_not_finished_is_written_in_each_picture():
    shown = configuration("gru-torch-2x32", 1)
    for runs, words in (((), "not run"), ((cut(shown.runs[0], 1),), "1 of 100 epochs")):
        some = replace(shown, runs=runs)
        assert words in answer_picture([some], NGRAMS).elements
        assert words in curves_picture(some, 100, NGRAMS).elements


def test_a_file_is_valid_whatever_the_titles_are():
    odd = "<b>&\"' ]]>"
    file = as_file({odd: answer_picture([configuration("gru-torch-2x32", 1)], {"<n>": 5.0})}, 2)
    assert odd in [text.text for text in ElementTree.fromstring(file).iter("{http://www.w3.org/2000/svg}text")]


def test_a_picture_alone_has_the_colours_of_the_light_page():
    light = re.search(r":root \{(.*?)\}", (SHARED / "base.css").read_text())
    assert light
    of_page = dict(re.findall(r"--([\w-]+): (#\w+)", light[1]))
    alone = dict(re.findall(r"var\(--([\w-]+), (#\w+)\)", STYLE))
    assert len(alone) > 4
    assert alone == {name: of_page[name] for name in alone}
