"""python -m pipeline: the same as the console script tmlm."""

from pipeline.cli.main import main

main()
