"""Other packages' interfaces on conediff: :mod:`conediff.compat.diffcp`."""
