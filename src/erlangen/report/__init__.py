"""Turn an audit into something to read: one self-contained HTML file, a terminal table, and back again."""

from erlangen._lazy import lazy_attributes

_PUBLIC = {
    "render_html": "erlangen.report.page:render_html",
    "read_html": "erlangen.report.page:read_html",
    "terminal_table": "erlangen.report.terminal:terminal_table",
    "plot_weight_polytope": "erlangen.report.weight_polytope:plot_weight_polytope",
}
__all__ = sorted(_PUBLIC)

__getattr__, __dir__ = lazy_attributes(__name__, _PUBLIC)
