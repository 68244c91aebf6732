"""A pool of workers on several machines: dask.distributed places tasks, each node trains in its own processes."""
