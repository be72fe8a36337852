"""The Learning Rate, by Experiment: the small library behind the notebooks.

One idea a module: `schedules` and `landscapes` need only NumPy; `data`, `models` and `training` run
real models; `sweeps` runs many at once; `evidence`, `plots`, `exercises` and `chapters` serve the
notebooks, and `experiments` holds what they have recorded. Import the module you need: importing
the package itself loads nothing.
"""

__version__ = "2.0.0"
