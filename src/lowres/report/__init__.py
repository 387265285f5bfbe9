"""Reports: runs are read, analysed, drawn, and written as page, Markdown, tables and figures."""
