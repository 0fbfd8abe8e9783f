"""What the models look at: heat maps, explanations against exact effects, probes, gaps between text and image."""
