"""Models behind HTTP endpoints.

- `description`: what an auditor says of one;
- `http`: how a server is asked, and what no server may do;
- `protocols`: how images are sent, and answers read;
- `journal`: answers kept, so that a run that broke goes on;
- `suspect`: such a model as a suspect.
"""
