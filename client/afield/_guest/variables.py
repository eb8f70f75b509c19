"""The environment variables between a worker and its template."""

from typing import Final

CONTROL_FD: Final = "AFIELD_TEMPLATE_FD"
"""The descriptor of the control socket."""

MARK: Final = "AFIELD_TEMPLATE"
"""The template's id. All that descends from it carries the mark."""
