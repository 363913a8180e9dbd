//! Reading LAION-like sources, whatever layout they come in.
