"""The report of an arena: data from the projection, a picture, and a page in HTML or Markdown."""
