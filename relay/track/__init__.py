"""Door: the pages that links in mails open."""
