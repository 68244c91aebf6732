"""The report as a page: sentences, tables, pictures and templates."""
