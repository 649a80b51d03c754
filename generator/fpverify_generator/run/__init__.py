"""How work is run: what every step of a run shares, and how pieces of work are done. Knows no networks' training.

- `context`: seed, cache, device and processes of a run; does pieces of work that do not depend on each other;
- `cache`: finished work by digest; `seeds`: a seed for each named step;
- `progress`: what is done of a stage, and about how long the rest takes;
- `workers`: processes on this machine, which end with their parent; `engines`: clusters; `devices`: who has which GPU.
"""
