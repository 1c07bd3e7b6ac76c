"""Side by side against peers, in one process run: `python -m benchmarks core`."""
