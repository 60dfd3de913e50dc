"""What figures are made of: the look of a page, rows of pictures, portraits of units."""
