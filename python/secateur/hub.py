"""Where models are: a directory, the encoder in the box, or a name of the Hugging Face hub."""

from __future__ import annotations

import os
from typing import Any

from .errors import InputError

__all__ = ["locate"]

_FILES = ["*.json", "*.safetensors", "*.model", "*.txt", "*.tiktoken"]


def locate(model: str | os.PathLike[str]) -> str:
    """The directory of a model.

    A name such as ``sentence-transformers/all-MiniLM-L6-v2`` is looked up, and downloaded if need be, by the package
    huggingface_hub, if that is installed: ``pip install secateur[hub]``.

    >>> locate("default")
    'default'
    >>> locate("no/such/place")
    Traceback (most recent call last):
    ...
    secateur.errors.InputError: there is no model directory no/such/place; ...
    """
    path = os.fspath(model)
    if path == "default" or os.path.exists(path):
        return path
    owner = path.split("/")[0]
    if path.count("/") != 1 or path.startswith((".", "/", "~")) or os.path.isdir(owner):
        raise InputError(f"there is no model directory {path}; give a directory, or OWNER/NAME of the hub")
    try:
        import huggingface_hub
    except ImportError as error:
        raise InputError(
            f"{path} is no directory, and the package that asks the hub for it is not here: pip install secateur[hub]"
        ) from error
    download: Any = huggingface_hub.snapshot_download
    try:
        return str(download(path, allow_patterns=_FILES))
    except Exception as error:
        raise InputError(f"the model {path} is not to be had from the hub: {error}") from error
