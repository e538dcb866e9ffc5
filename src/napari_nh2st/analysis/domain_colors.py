"""Colours for domains, distinct with any colour vision."""

# The first seven are Okabe & Ito 2008. Each further one is, of those that are neither very light,
# very dark nor grey, the colour farthest from all before it: by the least CIE Lab distance among
# normal vision, protanopia and deuteranopia (simulated after Machado, Oliveira & Fernandes 2009).
DOMAIN_COLORS = (
    "#e69f00", "#56b4e9", "#009e73", "#f0e442", "#0072b2", "#d55e00", "#cc79a7", "#0000ff",
    "#552200", "#88ffaa", "#552244", "#221199", "#7766ff", "#ffddee", "#551166", "#dd0044",
    "#eeaa66", "#6699ff", "#ff99aa", "#1155bb", "#994477", "#446633", "#0022cc", "#eeee77",
    "#ff5577", "#552222", "#ccbbdd", "#665500", "#6644ff", "#442288",
)  # fmt: skip


def domain_color(number: int) -> str:
    """Colour of a domain, numbered from 1; they repeat after the thirtieth."""
    return DOMAIN_COLORS[(number - 1) % len(DOMAIN_COLORS)]
