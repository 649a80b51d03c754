"""Images with labels: what they are, how they are read, and the attacker's other domain.

- `dataset`: images, labels and class names, checked once; splits of them;
- `load`: digits, NumPy files, folders of images; `images` reads one image;
- `store`: many images in a file, which are read when they are asked for;
- `textures`: rendered textures, a domain of its own.
"""
