"""The pillar of this formula: each key, and how it is read into settings."""

from typing import Any, TypeAlias

Draft: TypeAlias = dict[str, Any]
"""Settings, or a section of them, that are being filled in: what was not given, or was refused, is still ``None``."""
