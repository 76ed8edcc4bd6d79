"""The verbs as functions: pretrain, evaluate, embed, index, search. Each module imports what it needs and no more."""

__all__: list[str] = []
