"""Pages: a study's report as HTML, as Markdown and on the dashboard."""
