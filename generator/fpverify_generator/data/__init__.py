"""Images with labels: what they are, how they are read, and the attacker's other domain.

- `dataset`: images, labels and class names, checked once; splits of them;
- `load`: digits, NumPy files, folders of images; `images` reads one image;
- `textures`: rendered textures, a domain of its own.
"""
