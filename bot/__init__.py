"""The top floor: command line, configuration, and later the engine that runs paper and live."""
