"""The front end for Intel's fixed-point exports.

``read`` gives the files' contents, ``to_model`` the model with every data-dependent exponent
frozen, ``to_vectors`` the recorded integers under this project's names; ``lower.lower`` turns the
model into a network.
"""

from s5_to_loihi.intel_export.building import to_model
from s5_to_loihi.intel_export.export import MODEL_FILE, IntelExport, Recorded, read
from s5_to_loihi.intel_export.options import ExportOptions
from s5_to_loihi.intel_export.recordings import to_vectors, value_names

__all__ = [
    "MODEL_FILE",
    "ExportOptions",
    "IntelExport",
    "Recorded",
    "read",
    "to_model",
    "to_vectors",
    "value_names",
]
