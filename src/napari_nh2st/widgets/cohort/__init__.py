"""The *Cohort* dock: a queue of slides, and one table of their results."""
