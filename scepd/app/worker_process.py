"""`python -m scepd.app.worker_process`: a worker as a child of the supervisor."""

from scepd.app.process import run_process
from scepd.app.worker import Worker

if __name__ == "__main__":
    run_process(Worker)
