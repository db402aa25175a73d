"""The report of a study as one HTML file that needs nothing else: it can be mailed, printed, and read on a phone."""
