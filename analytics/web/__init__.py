"""The live page of an arena: `app` is what is served, `serve` serves it; the page itself is in `static/`."""
