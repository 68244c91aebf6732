"""A pool of workers on several machines: dask.distributed assigns tasks to nodes, which train in worker processes."""
