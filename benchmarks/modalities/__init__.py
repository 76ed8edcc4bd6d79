"""Every modality against its baselines: ``python -m benchmarks.modalities NAME FOLDER``, one module per modality."""
