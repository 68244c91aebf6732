"""What tests read that is not made by the code under test."""
