"""The commands, one file for each heading of ``tmlm --help``; those of a cluster are in pipeline/cli/cluster.py."""
