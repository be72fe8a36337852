"""One GPT from the command line, on one device or many: `python -m lrcourse.pretrain --help`."""
