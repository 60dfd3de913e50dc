"""The report: one HTML file that opens from disk, with the figures and every unit's partners, made from the tables."""
