"""Prints the public names of ncmodels where there is no extension."""

from process_models import ncmodels

print(*(name for name in dir(ncmodels) if not name.startswith("_")), sep="\n")
