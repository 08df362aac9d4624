"""Work between requests: the worker role, with arq as the courier."""
