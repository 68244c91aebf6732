"""A table of reported numbers and statements, compared with recorded trainings."""
