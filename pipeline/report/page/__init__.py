"""The report as a page: sentences, tables and charts as plain data."""
