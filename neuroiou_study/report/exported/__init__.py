"""What makes an exported loss a package: templates, and ``package.py`` that fills them."""
