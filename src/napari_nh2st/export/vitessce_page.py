"""The page of a Vitessce folder, which fetches Vitessce and shows the folder that it lies in."""

import html

VERSION = "4.0.8"
"""Version of Vitessce that the page was tried with."""

_REACT = "18.3.1"

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>{title}</title>
<style>body {{ margin: 0; font-family: sans-serif }}</style>
<script type="importmap">
{{"imports": {{
  "react": "https://esm.sh/react@{react}",
  "react/jsx-runtime": "https://esm.sh/react@{react}/jsx-runtime",
  "react-dom": "https://esm.sh/react-dom@{react}",
  "react-dom/client": "https://esm.sh/react-dom@{react}/client",
  "vitessce": "https://unpkg.com/vitessce@{version}/dist/index.min.js"
}}}}
</script>
</head>
<body>
<div id="vitessce"><p>This page needs internet access, and a web server for its folder: run
<code>python -m http.server</code> in it and open <a href="{base}">{base}</a>.</p></div>
<script type="module">
import {{ createElement }} from "react";
import {{ createRoot }} from "react-dom/client";
import {{ Vitessce }} from "vitessce";

const here = new URL(".", location.href).href;
const text = await (await fetch("{config}")).text();
const config = JSON.parse(text.replaceAll("{base}", here));
const view = createElement(Vitessce, {{ config, theme: "light", height: window.innerHeight }});
createRoot(document.getElementById("vitessce")).render(view);
</script>
</body>
</html>
"""


def vitessce_page(title: str, config: str, base_url: str) -> str:
    """The page as HTML.

    Parameters
    ----------
    title
        Any text.
    config
        Name of the configuration's file, beside the page.
    base_url
        What stands there for the folder's own address.
    """
    return _PAGE.format(
        title=html.escape(title), react=_REACT, version=VERSION, config=config, base=base_url
    )
