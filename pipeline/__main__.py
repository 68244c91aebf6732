"""``python -m pipeline``, equivalent to the command ``tmlm``."""

from pipeline.cli.main import main

main()
