"""Models in a registry: judged, watched, and moved behind an alias only with an acceptable verdict.

- `mlflow`: what of MLflow's registry is used; its package is imported when it is used;
- `gate`: checks a version, watches for new ones, and promotes one.

Tags of a version are for people: every user of a registry can write them. So nothing here believes a tag.
"""
