"""python -m pipeline: the same as the console script tmlm."""

from pipeline.cli import main

main()
