"""The same comparison for several widths and numbers of training images, and what grows with them."""
