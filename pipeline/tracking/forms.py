"""What records must hold to be read: a record without it counts as missing.

Another version, or anybody who may write to the store, may have written it.
"""

from pipeline.config import COST_NAMES, COSTS, SIZES
from pipeline.support.forms import Form, count, maybe, natural, number, positive, text

CONFIGURATION: Form = {  # the tag of a training
    "corpus": {"corpus": text, "alphabet": text},
    "model": {"cell": text, "implementation": text, "num_layers": count, "hidden_size": count, "on_top_of": text},
    "train": {"preset": text, "seed": natural, "epochs": maybe(count), "precision": text, "train_chars": natural},
    "recipe": natural,
    "text": {"name": text, "source": text, "corpus_sha256": text, "train_chars": count},
}

ENVIRONMENT: Form = {"packages": maybe({...: text})}
SAMPLES: Form = {"samples": [{"prompt": text, "text": text}]}

RESULTS: dict[str, dict[str, Form]] = {  # by stage; of other stages anything
    "train": {
        **dict.fromkeys(("val_perplexity", "val_perplexity_pooled", "test_perplexity"), positive),
        **dict.fromkeys(("ngram_val_perplexity", "ngram_test_perplexity"), positive),
        **dict.fromkeys(("mixture_val_perplexity", "mixture_test_perplexity"), positive),
        **dict.fromkeys(("ngram_order", "single_ngram_order", "best_epoch", "epochs", *SIZES), count),
        "mixture_kind": text,
        "mixture_weight": number,
        "train_seconds": number,
        "stopped": text,
        "device": text,
        "texts": [text],
        "last_texts": maybe({...: text}),
        "precision": maybe(text),
        "trained_parameters": maybe(count),
        "val_perplexity_windowed": maybe(positive),
    },
    "search": {
        "study_name": text,
        "corpus": text,
        "corpus_sha256": text,
        "cost": lambda cost: cost in tuple(COSTS),
        "front": [
            {
                **dict.fromkeys(SIZES, count),
                **dict.fromkeys(("val_perplexity_low", "val_perplexity_high", "test_perplexity"), maybe(positive)),
                "name": text,
                "val_perplexity": positive,
                "run_ids": [text],
            }
        ],
        "picks": {...: {"run_id": text, "sentence": text}},
        "compared": maybe(
            [
                {
                    **dict.fromkeys(COST_NAMES, maybe(natural)),
                    **dict.fromkeys(("mixture_val_perplexity", "mixture_test_perplexity"), maybe(positive)),
                    **dict.fromkeys(("val_perplexity", "test_perplexity"), maybe(positive)),
                    "label": text,
                    "name": text,
                }
            ]
        ),
    },
}
