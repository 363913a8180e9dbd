"""A hostile web in a network namespace, and what a downloader must make of it."""
