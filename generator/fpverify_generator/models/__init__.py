"""Networks: how they are built, trained, asked together, loaded and exported.

- `architectures`, `residual`: the families of architectures; `own`: an owner's own, from a Python file or timm;
- `backbones`: networks that begin with public weights; `heads`: a body that stays as it is answers once for all;
- `training`: one task, and the plain loop; `captured`: its step as a CUDA graph;
- `stacked`: the passes of many networks at once;
- `ensembles`: trains a stack of networks, and asks many together; `networks`: trains many tasks, cached;
- `passes`: how many images are asked at once;
- `given`: surrogates, references and null models that an owner already has;
- `asked`: answers of a source that is asked once per image;
- `source`: the owner's model: a network, a `torch.export` file (`exported`) or an ONNX file (`onnx_source`);
- `oracle`: ONNX Runtime in this process, for the owner's own files;
- `export`: ONNX files of networks; `plain_onnx`: those of plain ones, without PyTorch's exporter.
"""
