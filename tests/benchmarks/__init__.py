"""What things cost: `make bench`, or `python -m tests.benchmarks --help`.

A module a subject, each with ``measure(quick)``, which yields :class:`~tests.benchmarks.figures.Figure` as they are
measured. What is compared is measured in one run, in turns. The subjects that need Ray are left out where there is
none; the others need nothing but ``core``.
"""
