"""The Learning Rate, by Experiment: the small library behind the notebooks.

One idea a module: `schedules` and `landscapes` need only NumPy; `data`, `models` and `training` run
real models; `sweeps` runs many at once; `evidence`, `exercises` and `plots` serve the chapters.
`notebooks` makes the chapters from their sources. Import the module you need: importing the package
itself loads nothing.
"""

__version__ = "0.1.0"
