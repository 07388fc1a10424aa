"""Anything that is drawn: tables, panels, bars, heatmaps and the formatting of their numbers."""
