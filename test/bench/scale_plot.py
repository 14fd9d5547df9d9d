"""Curves of seconds against domains, both in powers of ten: as text, and as a PNG (matplotlib)."""

import math

WIDTH = 36


def text(curves):
    """Return the curves as lines of bars, as long as the logarithm of the seconds.

    :param curves: ``{what: {domains: seconds}}``.
    """
    seconds = [value for curve in curves.values() for value in curve.values() if value > 0]
    if not seconds:
        return ""
    low, high = math.floor(math.log10(min(seconds))), math.ceil(math.log10(max(seconds)))
    lines = [f"seconds, from 1e{low} to 1e{high}, a tenfold each {WIDTH / max(high - low, 1):.0f} characters"]
    for what, curve in curves.items():
        lines.append(what)
        for domains, value in curve.items():
            bar = "#" * max(1, round((math.log10(value) - low) / max(high - low, 1) * WIDTH))
            lines.append(f"  {domains:>6,} {bar:{WIDTH}} {value:.3g} s")
    return "\n".join(lines) + "\n"


def png(curves, path):
    """Draw the curves into a file."""
    # Not at the top: only who wants a picture needs it.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 5.5), layout="constrained")
    axes = figure.subplots()
    for what, curve in curves.items():
        axes.plot(list(curve), list(curve.values()), marker="o", label=what)
    axes.set(xscale="log", yscale="log", xlabel="domains", ylabel="seconds")
    axes.grid(visible=True, alpha=0.3)
    axes.legend(fontsize="small")
    figure.savefig(path, dpi=100)
