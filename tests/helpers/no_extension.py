"""Prints the public names of ncmodels where there is no extension."""

from s5_to_loihi.process_models import ncmodels

print(*(name for name in dir(ncmodels) if not name.startswith("_")), sep="\n")
