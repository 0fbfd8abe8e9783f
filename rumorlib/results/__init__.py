"""Finished runs: made where they are missing, read where they are there, folded into the store, shown with provenance."""

from rumorlib.results.reports import Report, content_of, run_folder, stored, run_or_load, all_or_none, add_extra, declared_since
