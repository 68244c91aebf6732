"""The limit after which a test decides that something takes too long; light, as spawned processes import it too."""

SLACK = 2.0  # factor for a busy machine
