"""Who asks and who works: command line, API, database, jobs, keys, page."""
