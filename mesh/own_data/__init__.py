"""Own data for a template: an owner's CSV or JSON-lines files become the tables that an arena's `prepare` needs.

An arena that takes own data has a file `own_data.toml` (`mesh.own_data.template`). It lists tables, and for each table
the columns with type and aliases. `mesh new TEMPLATE --data FILES TARGET` proposes which column of the owner's files is
which, checks all values, and writes `columns.toml` into the new arena. `artifact.prepare` then reads the same files by

    from mesh.own_data.reading import read_source
    tables = read_source(Path(os.environ["MESH_SOURCE"]), Path("."))     # {"invoices": [{"total": 12.5, ...}, ...]}

Modules: `files` reads bytes into rows of text, `values` turns text into dates and numbers, `mapping` finds the columns,
`reading` joins them. Nothing here splits data or scores: that is what the template's own programs do.
"""
