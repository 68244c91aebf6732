"""The coursework report's own configurations and what it says of them, to compare with."""

from typing import NamedTuple

from models.complexity import closed_form
from models.config import CellName, ModelConfig

REPORT_SYMBOLS = 28


class Reported(NamedTuple):
    """A configuration of the coursework report, and the final perplexity that its prose gives: to one digit."""

    implementation: str
    cell: CellName
    num_layers: int
    hidden_size: int
    perplexity: float

    @property
    def macs_per_char(self) -> int:
        """MACs per character with the output layer, as for all configurations here."""
        model = ModelConfig(cell=self.cell, num_layers=self.num_layers, hidden_size=self.hidden_size)
        return closed_form(model, REPORT_SYMBOLS).macs_per_char


REPORTED = (
    Reported("scratch", "gru", 1, 8, 7),
    Reported("scratch", "gru", 1, 32, 5),
    Reported("scratch", "gru", 1, 128, 5),
    Reported("scratch", "gru", 1, 1024, 5),
    Reported("scratch", "lstm", 1, 8, 7),
    Reported("scratch", "lstm", 1, 32, 5),
    Reported("scratch", "lstm", 1, 128, 5),
    Reported("scratch", "lstm", 1, 1024, 5),
    Reported("torch", "rnn", 1, 128, 2),
    Reported("torch", "lstm", 1, 128, 1),
    Reported("torch", "gru", 1, 128, 2),
    Reported("torch", "gru", 2, 32, 5),
    Reported("torch", "lstm", 2, 32, 2),
    Reported("torch", "gru", 2, 128, 2),
    Reported("torch", "gru", 8, 32, 16),
    Reported("torch", "lstm", 2, 128, 5),
    Reported("torch", "lstm", 8, 32, 16),
)
