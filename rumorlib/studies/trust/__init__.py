"""How far a score can be believed: splits, selection rules, counterfactuals, calibration."""
