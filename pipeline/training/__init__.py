"""One model, trained and evaluated: hardware, loop, checkpoints, timing."""
