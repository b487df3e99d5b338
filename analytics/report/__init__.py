"""The report of an arena: facts asked of the projection, a picture, and a page of them in HTML or Markdown."""
