"""The detectors, one file each: how far a window is from what is usual."""
