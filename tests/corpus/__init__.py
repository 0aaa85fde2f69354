"""Reports as mail systems write them, with what they mean: the measure of `relay.mail.classify`.

Every text is constructed (example domains only), in the form that a product is publicly known to use, except those
below `captured/`, which mail servers of Debian wrote. The corpus has two halves, split by product and variant:
`development.py` may be looked at when rules are written, `held_out.py` and `captured/` may not.
"""
