"""Tables of scores: comparisons, ablations, sweeps, and the verdicts on the papers' claims."""
