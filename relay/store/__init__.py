"""What is kept on disk: the spool shards, the catalog, the history. The only package that speaks SQL."""
