"""``python -m benchmarks``; apart from run.py, so that the processes it starts do not import it."""

from benchmarks.run import main

if __name__ == "__main__":
    main()
