"""The front end for Intel's fixed-point exports."""
