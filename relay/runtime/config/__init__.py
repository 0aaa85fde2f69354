"""The configuration: one typed model, loaded whole, with every fault named by file and line."""
