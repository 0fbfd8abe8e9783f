"""What is in the corpora, and what a shortcut scores on them."""
