"""The verbs of `python -m rumorlib`, and what they need."""
