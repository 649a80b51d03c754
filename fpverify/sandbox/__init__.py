"""Runs a stranger's model in a process that can do no harm and whose answers are not trusted.

- `limits`: how much time, memory and processor a suspect may take;
- `spawn`: starts the child: what it inherits, and where it works;
- `copies`: what is run: private copies of the suspect's files, which nobody can change;
- `fence`: what the child gives up before it sees the model, where Linux can hold it to that;
- `process`: the parent's side: asks the child, waits no longer than allowed, and says how it ended;
- `replies`: reads what the child says, and believes none of it before it is checked;
- `child`: the child's side: a script of its own, which alone imports ONNX Runtime;
- `described`: what the child says of a model's outputs.
"""
