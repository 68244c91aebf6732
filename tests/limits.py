"""How long a test waits before it holds that something takes too long; light, as spawned processes import it too."""

SLACK = 2.0  # times what an idle machine needs
