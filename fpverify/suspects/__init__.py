"""Suspects: anything that answers inputs with labels or scores.

- `interface`: what every kind of suspect offers; `opening`: the table of kinds;
- `callables`: a Python callable, or an object with `predict_proba` or `predict`;
- `onnx_file`: an ONNX file, surveyed here and run in a sandbox;
- `folders`: which file of a model's folder is the model;
- `endpoints`: models behind servers, and how servers are asked;
- `recorded`: answers that somebody else wrote down;
- `options`: what the auditor says of what it expects;
- `derive`, `conventions`: how the rest is worked out from what it states, and what is assumed;
- `outputs`: what its outputs can be, before it is run;
- `prepared`: a suspect with its contract for one fingerprint; it fits inputs, and reads outputs as labels;
- `fit`: turns keys into what it expects;
- `classes`, `answers`: turn what it returns into labels of the fingerprint's classes;
- `controls`, `probe`: pick among several readings by the suspect's accuracy on ordinary images.

Nothing is imported here: an ONNX file is opened, and its process told to load it, before NumPy is imported.
"""
