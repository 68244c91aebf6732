"""Group trainings by validation text and configuration, and make the charts' series of a configuration."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.config import CostAxis
from pipeline.pages.charts import Series
from pipeline.results import PickResult
from pipeline.support.statistics import estimate, geometric_mean, pooled_spread
from pipeline.support.wording import listed, rounded
from pipeline.tracking.queries import by_configuration, told_apart
from pipeline.tracking.recorded import RecordedTraining
from pipeline.training.metrics import TRAIN_CURVE, VAL_CURVE

LONGEST_TEXT = 80  # characters of a sample text in the chart's readout


@dataclass(frozen=True)
class TrainedConfiguration:
    """Finished trainings that differ in their seed alone, one for each seed, under a unique ``name``."""

    name: str
    trainings: tuple[RecordedTraining, ...]

    @property
    def perplexities(self) -> list[float]:
        """The best validation perplexity of each seed, pooled over the characters as an n-gram's is."""
        return [training.result["val_perplexity_pooled"] for training in self.trainings]

    def series(self, axis: CostAxis, picks: Mapping[str, PickResult]) -> Series:
        """The series of the configuration in the charts; ``picks`` are those of its study."""
        first = self.trainings[0]
        train = [list(training.pooled(TRAIN_CURVE).values()) for training in self.trainings]
        val = [list(training.pooled(VAL_CURVE).values()) for training in self.trainings]
        model = first.configuration["model"]
        on_top = "+ngram" if model["on_top_of"] != "nothing" else ""
        texts = first.result["texts"]
        text = " ".join(texts[-1].split())[:LONGEST_TEXT] if texts else ""
        return Series(
            name=self.name,
            shape=f"{model['cell'].upper()} {model['num_layers']}x{model['hidden_size']}{on_top}",
            cell=model["cell"],
            cost=axis.of(first.result),
            cost_name=axis.name,
            epochs_planned=max(map(len, [*train, *val])),
            seeds=[training.seed for training in self.trainings],
            best=self.perplexities,
            best_epochs=[training.result["best_epoch"] for training in self.trainings],
            train=train,
            val=val,
            picks=[name for name, pick in picks.items() if pick["run_id"] in {each.id for each in self.trainings}],
            remarks=[f"seed {first.seed} writes “{text}”"],
        )


def means_of(configurations: Sequence[TrainedConfiguration], perplexity: str) -> list[str]:
    """The mean of each over its seeds and half of the 95 % prediction interval of one more: 4.61 ± 0.05.

    The spread of seeds is pooled over those with several, as in a search; without any there is no interval.
    """
    values = [[training.result[perplexity] for training in each.trainings] for each in configurations]
    spread = pooled_spread([np.log(each) for each in values])
    found = [estimate(each, spread=spread, of_next=True) for each in values]
    return [rounded(each.mean) + f" ± {rounded(each.half)}" * bool(each.ends) for each in found]


def by_characters(trainings: Iterable[RecordedTraining]) -> list[list[RecordedTraining]]:
    """Group trainings by the characters of their validation, the largest group first."""
    groups: dict[tuple[str, bool], list[RecordedTraining]] = {}
    for training in trainings:
        groups.setdefault(training.measured_on("val_perplexity"), []).append(training)
    return sorted(groups.values(), key=len, reverse=True)


def title_of(trainings: Sequence[RecordedTraining]) -> str:
    """The text and the presets of a group of ``by_characters``."""
    return f"{trainings[0].corpus}, preset {listed([*dict.fromkeys(each.preset for each in trainings)])}"


def configurations_of(trainings: Sequence[RecordedTraining]) -> list[TrainedConfiguration]:
    """Group finished trainings of one text by configuration, the lowest mean perplexity first."""
    members = [tuple(by_seed[seed] for seed in sorted(by_seed)) for by_seed in by_configuration(trainings)]
    firsts = [group[0] for group in members]
    names = told_apart([first.configs[0].shape for first in firsts], firsts)
    found = [TrainedConfiguration(name, group) for name, group in zip(names, members, strict=True)]
    return sorted(found, key=lambda configuration: geometric_mean(configuration.perplexities))
