//! EffiR (Lei et al. 2025, arXiv 2512.20612): which parts of an encoder matter least, and models without them.
