"""Frames -> figures. Nothing here reads or writes disk."""
