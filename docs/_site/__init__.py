"""What the site has beside its Markdown: pages made from the code."""
