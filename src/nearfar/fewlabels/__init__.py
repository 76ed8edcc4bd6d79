"""The most from few labels: fine-tune, distil, and SimCLRv2's three phases in one command.

`finetune`, `distill` and `semi` are what `nearfar.finetune` and its sisters are. They stand above the recipes, whose
settings the first phase takes, and beside the comparison: each may use pipeline, evaluation and report, and neither
knows the other. Training here is a loop of its own on one device, since labels, two streams of data and a teacher are
no method's business; `settings` alone is imported by the command line, and imports no torch.
"""

__all__: list[str] = []
