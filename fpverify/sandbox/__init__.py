"""Runs an untrusted model in a process of its own, within limits; its answers are not trusted.

- `limits`: how much time, memory and processor a suspect may take;
- `spawn`: starts the child: what it inherits, and where it works;
- `copies`: what is run: private copies of the suspect's files, which cannot be changed;
- `fence`: what the child gives up before it sees the model, where Linux can hold it to that;
- `parent`: the parent's side: asks the child, waits no longer than allowed, and says how it ended;
- `replies`: parses and checks the replies of the child, which are untrusted; `frames` reads their bytes;
- `outputs`: a model's outputs in a reply;
- `child`: the child's side: a script of its own, which alone imports ONNX Runtime;
- `described`: what the child says of a model's outputs.
"""
