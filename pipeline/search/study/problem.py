"""The problem of a search: what a configuration costs, stores and trains with, and which ones are affordable."""

from collections.abc import Iterable, Mapping
from functools import cached_property
from math import inf
from typing import Any

from models.complexity import closed_form
from models.config import ModelConfig
from pipeline.config import COSTS, SHAPES, SearchConfig, TrainConfig, resolve
from pipeline.errors import InputError
from pipeline.known_cost.space import internal_value
from pipeline.search.study.space import Space, model_of
from pipeline.text.corpus import Corpus
from pipeline.text.ngrams import baselines_of, fitted_ngrams
from pipeline.training.memory import check_can_train


class Problem:
    """A search space on a text; perplexity and ``axis``, the cost, are minimised within the budget.

    Raises InputError if the text is too short, the budget too small or the models too large.
    """

    def __init__(self, config: SearchConfig, space: Space, corpus: Corpus) -> None:
        self.config, self.space, self.corpus = config, space, corpus
        self.vocab_size = len(corpus.vocabulary)
        self.axis = COSTS[config.cost]
        affordable = list(filter(self.can_afford, space.corners()))
        if not affordable:
            raise InputError(
                f"--budget-macs {config.budget_macs:,} is less than the cheapest model of the space needs: "
                f"{min(map(self.cost, space.corners())):,} MACs per character; raise it, or lower --hidden-size"
            )
        configs = [self.configs_of(corner, config.seed) for corner in affordable]
        self.largest_bytes = max(check_can_train(corpus, *each, config.workers or 1) for each in configs)

    @cached_property
    def max_perplexity(self) -> float:
        """--max-perplexity, by default the 3-gram's; at most the uniform perplexity."""
        singles = baselines_of(self.corpus, self.config.preset)["val"].singles
        trigram = next(2**score.bits_per_char for score in singles if score.order == 3)
        return min(self.config.max_perplexity or trigram, float(self.vocab_size))

    @cached_property
    def largest_cost(self) -> int:
        """The largest cost of the space."""
        return max(map(self.cost, self.space.corners()))

    def reference(self, perplexities: Iterable[float]) -> tuple[float, float]:
        """The reference point of hypervolumes: ``max_perplexity``, or if none of these reaches it uniform; cost."""
        reaches = min(perplexities, default=inf) <= self.max_perplexity
        return self.max_perplexity if reaches else float(self.vocab_size), float(self.largest_cost)

    @cached_property
    def ngram_numbers(self) -> int:
        """The numbers of the n-grams that a model on top of them stores, without its parameters."""
        return fitted_ngrams(self.corpus, self.config.preset).tables.stored_numbers

    def sizes(self, parameters: Mapping[str, Any]) -> dict[str, int]:
        """The exact SIZES of a configuration, computed without training."""
        model = model_of(parameters, self.space)
        size, numbers = closed_form(model, self.vocab_size), self.ngram_numbers if model.on_top_of == "ngram" else 0
        sizes = {"macs_per_char": size.macs_per_char, "parameters": size.parameters}
        return {**sizes, "stored_numbers": size.parameters + numbers}

    def cost(self, parameters: Mapping[str, Any]) -> int:
        """The cost of a configuration that the study minimises."""
        return self.axis.of(self.sizes(parameters))

    def can_afford(self, parameters: Mapping[str, Any]) -> bool:
        """Whether a configuration is within --budget-macs."""
        return not self.config.budget_macs or self.cost(parameters) <= self.config.budget_macs

    def default_shape(self) -> dict[str, Any]:
        """The searched parameters of the preset's own shape; {} if it is not in the space or over the budget."""
        shape = {"on_top_of": "nothing", **self.space.fixed, **SHAPES[self.config.preset]}
        within = all(internal_value(self.space.values[name], shape, name) is not None for name in shape)
        if not within or not self.can_afford(shape):
            return {}
        return {name: value for name, value in shape.items() if name in self.space.searched}

    def configs_of(self, parameters: Mapping[str, Any], seed: int) -> tuple[ModelConfig, TrainConfig]:
        """The model and training configurations of a trial, from its parameters, the fixed ones and the common budget.

        Other options follow from these and from the training text, as they do for a single training.
        """
        budget = {name: getattr(self.config, name) for name in ("preset", "epochs", "max_seconds")}
        options = {**self.space.fixed, **parameters, **budget, "seed": seed, "sample_every": 0}
        return resolve(options, self.corpus.train_chars, self.vocab_size)
