"""The names of a training's checkpoints; importable without torch."""

LAST_CHECKPOINT = "last.safetensors"  # complete training state, to resume from
BEST_CHECKPOINT = "best.safetensors"  # weights of the epoch with the best validation perplexity, to evaluate and serve
