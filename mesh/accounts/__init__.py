"""The keys of a hub, who may say what with them, and the files of its servers.

A hub is a NATS server, or three, with decentralised authentication: an operator signs accounts, the roles of an account
sign members. `hub_init` makes the folder of a hub, `hub_folder` opens it, `issuing` lets a member in and out, and
`rights` is the table of who may post which fact. Nothing here connects to a server: `mesh.jetstream` does.
"""
