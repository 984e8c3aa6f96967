"""Pages that people look at: self-contained HTML files of one look, their charts and the pictures of cells in them."""
