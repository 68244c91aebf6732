"""A search in words: each sentence follows the numbers that it is given."""

from typing import Any

from pipeline.config import SearchConfig
from pipeline.search.front import Candidate, evaluate_front, picks
from pipeline.search.sentences import SearchRun, search_note, search_table
from tests.search.candidates import sizes_of


def searched(*perplexities: tuple[float, ...]):
    """FrontEstimate configurations gru-1x8, gru-1x16, ... of 1,000, 10,000, ... MACs with these perplexities."""
    candidates = [
        Candidate(
            *(f"gru-1x{8 << i}", "gru", 1, 8 << i, sizes_of(10 ** (i + 3), 900)),
            *(tuple(f"r{i}{n}" for n in range(len(v))), v, v),
        )
        for i, v in enumerate(perplexities)
    ]
    evaluated = evaluate_front(candidates, (28.0, 1e6))
    return evaluated, picks(evaluated)


def own(chosen):
    """The aliases of the picks of a study s."""
    return {pick: f"s-{pick}" for pick in chosen}


def result(chosen) -> Any:
    picked = {name: {"run_id": pick.run_id, "sentence": pick.sentence} for name, pick in chosen.items()}
    return {"compared": [], "picks": picked}


COUNTS = {"trials": 40, "failed": 2, "repeated": 0}


def test_the_note_of_a_search_has_the_front_with_links_the_picks_and_the_counts():
    evaluated, chosen = searched((9.0, 9.2), (5.1, 5.0), (6.0,))
    found = SearchRun("", SearchConfig(), evaluated, chosen, own(chosen), COUNTS, [], result(chosen))
    note = search_note(found, lambda point: f"[{point.candidate.name}](link)", "it has", "tmlm sample")
    interval = evaluated.front[0].val.half
    assert "| [gru-1x8](link) | 1,000 | 900 |" in note
    assert f"| 900 | 9.10 ± {interval:.2f} | 2 |" in note
    assert "gru-1x32](" not in note
    assert "- `@s-lean`, `@s-best`: gru-1x16 " in note
    assert f"Hypervolume {evaluated.hypervolume:.2f}, " in note
    assert "2 degrees of freedom" in note
    assert note.endswith("40 trials, 2 failed.")


def test_the_table_ends_with_the_link_and_names_each_pick_by_the_alias_of_its_study():
    evaluated, chosen = searched((9.0, 9.2), (5.1, 5.0))
    found = SearchRun("", SearchConfig(), evaluated, chosen, own(chosen), COUNTS, [], result(chosen))
    text = search_table("search s", found, {}, "link", is_quick=False)
    assert text.endswith("\n\n  link")
    assert "@s-lean, @s-best: gru-1x16" in " ".join(text.split())
    quick = search_table("search s", found, {}, "link", is_quick=True)
    assert ("Hypervolume" in text, "Hypervolume" in quick) == (True, False)
