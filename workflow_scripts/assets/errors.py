"""Errors of the assets stage."""


class AssetError(RuntimeError):
    """An asset cannot be fetched, verified or converted; the message says what was found and what to do."""


class DiskFullError(AssetError):
    """There is no room for a file. Other sources are not tried: they would fail for the same reason."""
