"""What HTML pages share: templates, style sheet, and charts as inline SVG."""
