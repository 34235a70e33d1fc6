"""The built-in probes, one file each; a probe is found by the name it registers under."""
