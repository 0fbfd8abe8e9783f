"""Finished runs and corpora -> the frames behind tables and figures, by the question they answer."""
